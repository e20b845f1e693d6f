import type { AdapterParts } from '../adapters/method.js';
import { OptionError } from '../errors.js';
import type { AdapterRegistry } from './adapter_registry.js';

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
}

/** A model's adapters. */
export class ModelAdapters {
  /** @internal */
  constructor(
    private readonly registry: AdapterRegistry,
    private readonly loader: AdapterLoader,
    private readonly assertUsable: () => void,
  ) {}

  /**
   * Loads a PEFT folder under a name. A loaded adapter of that name is replaced: requests that use it end with it, later
   * ones get the new one. Throws AdapterError, FileFormatError or PoolExhaustedError; then nothing has changed.
   */
  async load(name: string, folder: string): Promise<AdapterSummary> {
    this.assertUsable();
    if (name === '') throw new OptionError('an adapter needs a name');
    const parts = await this.loader(folder);
    this.assertUsable();
    await this.registry.add(name, parts);
    return this.get(name);
  }

  /** Takes an adapter away. Requests that use it finish first; its memory is free then. Throws MissingAdapterError. */
  unload(name: string): void {
    this.registry.remove(name);
  }

  /** Whether an adapter of this name is loaded. */
  has(name: string): boolean {
    return this.registry.find(name) !== undefined;
  }

  /** Throws MissingAdapterError. */
  get(name: string): AdapterSummary {
    const { contentHash, summary, uses } = this.registry.get(name);
    const { kind, ranks, targets, parameters, bytes } = summary;
    return { name, contentHash, kind, ranks, targets, parameters, bytes, uses };
  }

  /** Every loaded adapter, in the order of loading. */
  list(): AdapterSummary[] {
    return this.registry.names().map((name) => this.get(name));
  }
}
