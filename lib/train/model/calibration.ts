// What examples say of a base before there is an adapter: one site at a time, so that one dense matrix is held at most.
import type { SiteShape } from '../../adapters/method.js';
import type { Calibration, SiteGraph, TrainableMethod } from '../../adapters/trainable_method.js';
import { InternalError } from '../../errors.js';
import { compileInTurns } from '../../graph/compile.js';
import type { Tensor } from '../../graph/tensor.js';
import { add, map, matmul, reduce } from '../../ops/index.js';
import type { Program } from '../../runtime/program.js';
import type { TrainSettings } from '../options.js';
import type { TrainingMicroBatch } from '../step_runner.js';
import { runBatch } from './batch_inputs.js';
import { ParameterStore } from './parameter_store.js';
import type { AdapterInTraining } from './site_adapters.js';
import { compileTraining, type TrainingGraphParts, type TrainingLimits, trainingForward } from './training_programs.js';
import { placeBatch, prefixKeys } from './virtual_positions.js';

/** What a calibration runs over. */
export interface CalibrationRequest {
  readonly batches: readonly TrainingMicroBatch[];
  readonly limits: TrainingLimits;
  readonly recompute: TrainSettings['recompute'];
  readonly signal?: AbortSignal | undefined;
}

/** Measures the model without adapters over some batches. */
export class ModelCalibration implements Calibration {
  constructor(
    private readonly parts: Omit<TrainingGraphParts, 'adapters' | 'store' | 'factors'>,
    private readonly request: CalibrationRequest,
  ) {}

  async inputCovariance(site: SiteShape): Promise<Float64Array> {
    const inputs: Tensor[] = [];
    const forward = (_: unknown, { x, base }: SiteGraph): Tensor => {
      inputs.push(x);
      return base;
    };
    const { graph } = trainingForward({ ...this.parts, adapters: [probe(site, forward)], store: undefined, factors: undefined });
    const [x] = inputs;
    if (x === undefined) throw new InternalError(`${site.path} is no site of the training graph`);
    const outputs = { covariance: matmul(x, x, { transposeA: true }), largest: reduce(map(x, 'abs'), 'max') };
    const program = await compileInTurns(graph, { outputs, extents: { tokens: { max: this.request.limits.maxTokens } } });
    const sum = new Float64Array(site.inputs ** 2);
    await this.overBatches(program, ({ covariance, largest }) => {
      const most = (largest as Float32Array).reduce((a, b) => Math.max(a, b), 0);
      if (most === 0) return;
      (covariance as Float32Array).forEach((value, i) => {
        sum[i] = (sum[i] as number) + value / most ** 2;
      });
    });
    return sum;
  }

  async weightGradient(site: SiteShape): Promise<Float32Array> {
    const store = new ParameterStore(this.parts.weights.device);
    try {
      // A change of the weight that stays zero: its gradient is the weight's.
      const forward = (_: unknown, at: SiteGraph): Tensor => add(at.base, matmul(at.x, at.parameter('change'), { transposeB: true }));
      const stored = store.add('calibration', [
        {
          path: site.path,
          spec: { part: 'change', shape: [site.outputs, site.inputs], initial: { kind: 'constant', value: 0 }, trained: true },
        },
      ]);
      const [change] = stored.parameters;
      if (change === undefined) throw new InternalError('the calibration has no parameter');
      const zeros = new Float32Array(site.outputs * site.inputs);
      await store.write(change, zeros);
      await store.clearGradients();
      const adapters = [{ ...probe(site, forward), stored }];
      const program = await compileTraining(
        { ...this.parts, adapters, store, factors: undefined },
        this.request.limits,
        this.request.recompute,
      );
      await this.overBatches(program, () => {});
      return await store.read(change, 'gradients');
    } finally {
      store.dispose();
    }
  }

  private async overBatches(program: Program, use: (outputs: Awaited<ReturnType<typeof runBatch>>) => void): Promise<void> {
    try {
      for (const batch of this.request.batches)
        for (const placed of placeBatch(batch, new Map(), batch.tokens.length))
          use(await runBatch(program, placed, { slots: [0], prefix: prefixKeys(new Map()) }, this.request.signal));
    } finally {
      program.dispose();
    }
  }
}

// Looks at one site through the eyes of an adapter that is alone.
function probe(site: SiteShape, forward: NonNullable<TrainableMethod['forward']>): AdapterInTraining {
  const method = { name: 'calibration', sites: [site.kind], forward } as unknown as TrainableMethod;
  const settings = { rank: 1, alpha: 1, rsLora: false, loraPlusRatio: 1, init: undefined, targetModules: [], methodOptions: {} };
  const stored = { name: 'calibration', offset: 0, length: 0, groups: [], parameters: [] };
  return { name: 'calibration', slot: 0, method, settings, sites: [site], stored };
}
