// Which part of its factors each adapter uses and trains in a step.
import type { StepShare } from '../../adapters/trainable_method.js';
import { writeBytes } from '../../runtime/device_tensor.js';
import { purposes, uniform } from '../counter_random.js';
import type { FactorTables } from './factor_tables.js';
import type { ParameterStore, StoredParameter } from './parameter_store.js';
import { type AdapterInTraining, factorsAt } from './site_adapters.js';

const purpose = purposes.stepShares;

/** A run of gradients, in elements of the store. */
interface Run {
  readonly offset: number;
  readonly length: number;
}

/** Sets the table of factors before a step, and drops gradients that are not wanted after it. */
export class StepShares {
  private current: number | 'all' = 'all';
  /** Gradients of frozen factors: the kernels give them with the others. */
  private readonly frozen: readonly Run[];

  constructor(
    private readonly adapters: readonly AdapterInTraining[],
    private readonly store: ParameterStore,
    private readonly factors: FactorTables | undefined,
    private readonly seed: number,
  ) {
    this.frozen = joinRuns(
      adapters.flatMap((adapter) => factorParameters(adapter).filter(({ spec }) => !spec.trained)).map((parameter) => runOf(parameter)),
    );
  }

  /** @param step steps that are complete; 'all' for evaluation */
  async enter(step: number | 'all'): Promise<void> {
    if (this.current === step) return;
    for (const adapter of this.adapters)
      if (adapter.method.perStep !== undefined)
        await this.factors?.use(adapter, step === 'all' ? undefined : (this.shareOf(adapter, step) as StepShare));
    this.current = step;
  }

  /** Zeroes gradients of factors that the step does not train. */
  async dropGradients(step: number): Promise<void> {
    const runs = [...this.frozen];
    for (const adapter of this.adapters) {
      const share = this.shareOf(adapter, step);
      if (share === undefined) continue;
      const [from, to] = share.trainedRows;
      for (const parameter of factorParameters(adapter))
        if (parameter.spec.trained) runs.push(runOf(parameter, 0, from), runOf(parameter, to, parameter.rows));
    }
    const { gradients } = this.store;
    for (const { offset, length } of runs) if (length > 0) await writeBytes(gradients, 4 * offset, new Float32Array(length));
  }

  private shareOf({ method, settings }: AdapterInTraining, step: number): StepShare | undefined {
    return method.perStep?.(settings, uniform(this.seed, [step, 0, 0, purpose]));
  }
}

function factorParameters(adapter: AdapterInTraining): StoredParameter[] {
  const found = new Set<StoredParameter>();
  for (const site of adapter.sites) {
    const factors = factorsAt(adapter, site);
    if (factors === undefined) continue;
    const parts = new Set([...factors.a, ...factors.bT]);
    for (const parameter of adapter.stored.parameters)
      if (parameter.path === site.path && parts.has(parameter.spec.part)) found.add(parameter);
  }
  return [...found];
}

const runOf = ({ offset, stride, rows }: StoredParameter, from = 0, to = rows): Run => ({
  offset: offset + from * stride,
  length: (to - from) * stride,
});

// Frozen parameters of an adapter lie one after the other: one write clears them.
function joinRuns(runs: Run[]): Run[] {
  const joined: Run[] = [];
  for (const run of runs.sort((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last !== undefined && last.offset + last.length === run.offset)
      joined[joined.length - 1] = { offset: last.offset, length: last.length + run.length };
    else joined.push(run);
  }
  return joined;
}
