import type { AdapterParts } from '../adapters/method.js';
import { AdapterError, OptionError } from '../errors.js';
import type { AdapterRegistry } from './adapter_registry.js';
import type { MergedAdapter, WeightMerger } from './merged_adapter.js';
import type { PrefixCache } from './prefix_cache.js';
import type { Scheduler } from './scheduler.js';

/** Keeps requests and merges apart: no request sees weights that are half merged, none runs an adapter over weights it was not made for. */
export class MergeBoundary {
  /** From the first moment of a merge to the last one of its undoing. */
  private present: MergedAdapter | undefined;

  constructor(
    private readonly model: string,
    private readonly merger: WeightMerger,
    private readonly scheduler: Scheduler,
    private readonly prefixes: PrefixCache,
    private readonly registry: AdapterRegistry,
  ) {}

  get merged(): MergedAdapter | undefined {
    return this.present;
  }

  /** Throws OptionError where a request names adapters while one is merged. */
  assertFree(wanted: readonly { name: string }[]): void {
    if (this.present === undefined || wanted.length === 0) return;
    const names = wanted.map(({ name }) => `'${name}'`).join(', ');
    throw new OptionError(
      `a request names ${names} while '${this.present.name}' is merged into ${this.model}: leave adapters out, or call adapters.unmerge() first`,
      { merged: this.present.name, adapters: wanted.map(({ name }) => name) },
    );
  }

  async merge(merged: MergedAdapter, read: () => Promise<AdapterParts>): Promise<void> {
    const { name, scale, contentHash } = merged;
    if (this.present !== undefined)
      throw new AdapterError(`'${name}' cannot be merged: '${this.present.name}' is merged into ${this.model} already`, {
        name,
        merged: this.present.name,
      });
    this.assertIdle('merged');
    this.present = merged;
    try {
      await this.scheduler.alone(async () => {
        // A request that took its adapter before this began, and is only now submitted.
        if (this.registry.inUse) this.refuse('merged');
        await this.merger.merge(name, await read(), scale);
        this.prefixes.weights = `merged ${contentHash}*${scale} `;
      });
    } catch (error) {
      this.present = undefined;
      throw error;
    }
  }

  async unmerge(): Promise<void> {
    if (this.present === undefined) throw new AdapterError(`no adapter is merged into ${this.model}`);
    this.assertIdle('unmerged');
    await this.scheduler.alone(async () => {
      await this.merger.restore();
      this.prefixes.weights = '';
    });
    this.present = undefined;
  }

  private assertIdle(what: string): void {
    if (this.scheduler.busy) this.refuse(what);
  }

  private refuse(what: string): never {
    const { runningRequests: running, waitingRequests: waiting } = this.scheduler;
    throw new AdapterError(
      `adapters cannot be ${what} while requests are under way (${running} running, ${waiting} waiting): wait for them or abort them first`,
      { running, waiting },
    );
  }
}
