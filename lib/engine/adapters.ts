import { z } from 'zod';
import type { AdapterParts } from '../adapters/method.js';
import { AdapterError } from '../errors.js';
import { throwIfAborted, unlessAborted } from '../runtime/abort_signal.js';
import { parseOptions, unusableKey } from '../runtime/parse_options.js';
import { signalSchema } from '../runtime/signal_schema.js';
import type { AdapterRegistry, LoadedAdapter } from './adapter_registry.js';
import type { MergeBoundary } from './merge_boundary.js';
import type { MergedAdapter } from './merged_adapter.js';
import { mergeScale } from './options.js';

/** Reads an adapter folder for this model; throws AdapterError when it does not fit. */
export type AdapterLoader = (folder: string) => Promise<AdapterParts>;

/** What a loaded adapter is. */
export interface AdapterSummary {
  /** What requests call it. */
  readonly name: string;
  /** sha-256 over everything that changes results: what caches are keyed by. */
  readonly contentHash: string;
  /** The method as people write it, such as LoRA or DoRA. */
  readonly kind: string;
  /** Every rank that occurs, ascending. */
  readonly ranks: readonly number[];
  /** Last component of the module paths, such as q_proj. */
  readonly targets: readonly string[];
  /** Numbers in its file. */
  readonly parameters: number;
  /** Bytes of its tensors in the file. */
  readonly bytes: number;
  /** Requests that use it now. */
  readonly uses: number;
  /** Whether it is on the device: with `moveAdapters` it may be in host memory only, until a request wants it. */
  readonly resident: boolean;
}

const sourceSchema = z.strictObject({
  name: z
    .string()
    .min(1, 'expected a name')
    .refine((name) => name !== unusableKey, 'expected another name'),
  folder: z.string().min(1, 'expected a folder'),
});
const loadSchema = z.strictObject({ signal: signalSchema.optional() });
const mergeSchema = z.strictObject({ scale: mergeScale });

/** A model's adapters. */
export class ModelAdapters {
  // Where the loaded ones came from: factors in the pool are not kept in a form that can be merged.
  private readonly folders = new Map<string, string>();
  // Settles when all loads of a name that are under way have.
  private readonly loading = new Map<string, Promise<unknown>>();

  /** @internal */
  constructor(
    private readonly registry: AdapterRegistry,
    private readonly loader: AdapterLoader,
    private readonly merging: MergeBoundary,
    private readonly assertUsable: () => void,
  ) {}

  /**
   * Loads a PEFT folder under a name. A loaded adapter of that name is replaced: requests that use it end with it, later
   * ones get the new one. Of two loads of one name the one that was called later counts. It waits for requests under way that
   * could not end beside it; where others hold the memory that it needs, the youngest ones give theirs up and are computed
   * again later. Throws OptionError, AdapterError, FileFormatError, PoolExhaustedError or AbortError; then nothing has changed.
   */
  async load(name: string, folder: string, options: { signal?: AbortSignal | undefined } = {}): Promise<AdapterSummary> {
    this.assertUsable();
    parseOptions(sourceSchema, { name, folder }, 'adapters.load');
    const { signal } = parseOptions(loadSchema, options, 'adapters.load');
    const earlier = this.loading.get(name);
    const own = this.loadAfter(earlier, name, folder, signal);
    // One that was aborted ends before those that were called before it.
    const all = Promise.allSettled([earlier, own]);
    this.loading.set(name, all);
    all.then(() => {
      if (this.loading.get(name) === all) this.loading.delete(name);
    });
    return own;
  }

  private async loadAfter(
    earlier: Promise<unknown> | undefined,
    name: string,
    folder: string,
    signal: AbortSignal | undefined,
  ): Promise<AdapterSummary> {
    throwIfAborted(signal);
    const parts = await this.loader(folder);
    await unlessAborted(earlier, signal);
    this.assertUsable();
    const adapter = await this.registry.add(name, parts, signal);
    this.folders.set(name, folder);
    return summaryOf(adapter);
  }

  /**
   * Makes a loaded adapter part of the model's weights: every request runs with it, at the speed of the bare base. `scale` multiplies what it
   * changes (default 1). The weights are computed in float64 and rounded to their dtype. Until `unmerge`, requests that name an adapter are
   * refused: adapters are made for the base as it was. Throws MissingAdapterError; AdapterError where requests are under way, an adapter is
   * merged already, its folder has changed since it was loaded, or it cannot be merged, then with the reason; nothing has changed then.
   */
  async merge(name: string, options: { scale?: number | undefined } = {}): Promise<MergedAdapter> {
    this.assertUsable();
    const { scale } = parseOptions(mergeSchema, options, 'merge');
    const { contentHash } = this.registry.get(name);
    const folder = this.folders.get(name) as string;
    const merged = { name, scale, contentHash };
    await this.merging.merge(merged, async () => {
      const parts = await this.loader(folder);
      if (parts.contentHash !== contentHash)
        throw new AdapterError(`'${name}' cannot be merged: ${folder} has changed since it was loaded`, { name });
      return parts;
    });
    return merged;
  }

  /** Gives the weights back their bytes from the checkpoint, exactly. Throws AdapterError where nothing is merged or requests are under way. */
  async unmerge(): Promise<void> {
    this.assertUsable();
    await this.merging.unmerge();
  }

  /** The adapter that is merged into the weights, or undefined. */
  get merged(): MergedAdapter | undefined {
    return this.merging.merged;
  }

  /** Takes an adapter away. Requests that use it finish first; its memory is free then. Throws MissingAdapterError. */
  unload(name: string): void {
    this.assertUsable();
    this.registry.remove(name);
    this.folders.delete(name);
  }

  /** Whether an adapter of this name is loaded. */
  has(name: string): boolean {
    this.assertUsable();
    return this.registry.find(name) !== undefined;
  }

  /** Throws MissingAdapterError. */
  get(name: string): AdapterSummary {
    this.assertUsable();
    return summaryOf(this.registry.get(name));
  }

  /** Every loaded adapter, in the order of loading. */
  list(): AdapterSummary[] {
    this.assertUsable();
    return this.registry.names().map((name) => this.get(name));
  }
}

function summaryOf({ name, contentHash, summary, uses, place, arrival }: LoadedAdapter): AdapterSummary {
  const { kind, ranks, targets, parameters, bytes } = summary;
  return { name, contentHash, kind, ranks, targets, parameters, bytes, uses, resident: place !== undefined && arrival === undefined };
}
