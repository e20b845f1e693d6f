import { z } from 'zod';
import type { Tensor } from '../../graph/tensor.js';
import { add, matmul, scale } from '../../ops/index.js';
import type { AdapterBase, SiteShape } from '../method.js';
import type { Calibration, MethodSettings, ParameterSpec, ParameterValues, SiteGraph, TrainableMethod } from '../trainable_method.js';
import { checkRank, checkStart, factorsFrom, factorTensors, initialA } from './factor_tensors.js';
import { covarianceStart, orthonormalStart, principalStart, type StartFactors } from './lora_starts.js';
import { methodOptionsOf } from './trained_options.js';

/** alpha / rank, or with rsLoRA alpha / √rank (Kalajdzievski, https://arxiv.org/abs/2312.03732). */
export function loraScale({ alpha, rank, rsLora }: MethodSettings): number {
  return alpha / (rsLora ? Math.sqrt(rank) : rank);
}

/** B (A x) · scale with ordinary ops, for graphs that are differentiated twice and for methods built on factors. */
export function lowRankProduct(x: Tensor, a: Tensor, bT: Tensor, factor: number): Tensor {
  return scale(matmul(matmul(x, a, { transposeB: true }), bT), factor);
}

/** adapter_config.json of a LoRA adapter. PEFT warns of every module whose weight lies the other way than `fan_in_fan_out` says. */
export function loraConfigFile(
  settings: MethodSettings,
  sites: readonly SiteShape[],
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: settings.rank,
    lora_alpha: settings.alpha,
    use_rslora: settings.rsLora,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: sites.some(({ transposed }) => transposed),
    inference_mode: true,
    init_lora_weights: true,
    ...more,
  };
}

const starts = ['default', 'gaussian', 'pissa', 'olora', 'corda'];
const cordaOptions = { mode: z.enum(['ipm', 'kpm']).default('ipm'), examples: z.number().int().min(1).max(1_000_000).default(256) };

/** Whether what the factors begin with is taken out of the base again, by frozen rows behind the trained ones. */
const takesPart = ({ init }: MethodSettings): boolean => init === 'pissa' || init === 'olora' || init === 'corda';

async function partOfBase(
  settings: MethodSettings,
  site: SiteShape,
  base: AdapterBase,
  calibration: Calibration | undefined,
): Promise<StartFactors> {
  const { init, rank } = settings;
  if (init === 'pissa') return principalStart(base, site, rank, loraScale(settings));
  if (init === 'olora') return orthonormalStart(base, site, rank);
  return covarianceStart(base, site, rank, loraScale(settings), { calibration, mode: methodOptionsOf(settings, cordaOptions).mode });
}

/**
 * Low-rank adapters, y = W x + scale · B (A x). Hu et al., https://arxiv.org/abs/2106.09685; LoRA+ (Hayou et al.,
 * https://arxiv.org/abs/2402.12354) by `loraPlusRatio`. With `init` 'pissa', 'olora' or 'corda' the factors begin as a part of W, and frozen
 * rows A0, B0 take the same part out: y = W x + scale · (B (A x) - B0 (A0 x)). Such an adapter is saved as LoRA of twice the rank, as PEFT
 * converts it, and needs no other base.
 */
export const loraTraining: TrainableMethod = {
  name: 'lora',
  sites: ['linear'],

  check(settings) {
    checkStart(settings, starts);
    methodOptionsOf(settings, settings.init === 'corda' ? cordaOptions : {});
  },

  calibrationExamples: (settings) => (settings.init === 'corda' ? methodOptionsOf(settings, cordaOptions).examples : 0),

  async parameters(settings, site, base, calibration): Promise<readonly ParameterSpec[]> {
    const { rank, loraPlusRatio: rateMultiplier, init } = settings;
    const shapes = { A: [rank, site.inputs], bT: [rank, site.outputs] } as const;
    if (!takesPart(settings))
      return [
        { part: 'A', shape: shapes.A, initial: initialA(settings, site.inputs), trained: true },
        { part: 'bT', shape: shapes.bT, initial: { kind: 'constant', value: 0 }, trained: true, rateMultiplier },
      ];
    checkRank(settings, site, init as string);
    const { a, bT } = await partOfBase(settings, site, base, calibration);
    return [
      { part: 'A', shape: shapes.A, initial: { kind: 'given', values: a }, trained: true },
      { part: 'bT', shape: shapes.bT, initial: { kind: 'given', values: bT }, trained: true, rateMultiplier },
      { part: 'A0', shape: shapes.A, initial: { kind: 'given', values: a }, trained: false },
      { part: 'negativeB0T', shape: shapes.bT, initial: { kind: 'given', values: bT.map((x) => -x) }, trained: false },
    ];
  },

  factors: (settings) =>
    takesPart(settings)
      ? { a: ['A', 'A0'], bT: ['bT', 'negativeB0T'], scale: loraScale(settings) }
      : { a: ['A'], bT: ['bT'], scale: loraScale(settings) },

  forward(settings: MethodSettings, at: SiteGraph) {
    const product = (a: string, bT: string): Tensor => lowRankProduct(at.x, at.parameter(a), at.parameter(bT), loraScale(settings));
    const trained = product('A', 'bT');
    return add(at.base, takesPart(settings) ? add(trained, product('A0', 'negativeB0T')) : trained);
  },

  startsAtBase: () => true,

  // alpha grows with the rank, so that the scale stays.
  config: (settings, sites) =>
    takesPart(settings)
      ? loraConfigFile(settings, sites, { r: 2 * settings.rank, lora_alpha: settings.alpha * (settings.rsLora ? Math.SQRT2 : 2) })
      : loraConfigFile(settings, sites),

  exportSite: (settings, site, values: ParameterValues) =>
    takesPart(settings)
      ? factorTensors(2 * settings.rank, site, joined(values('A'), values('A0')), joined(values('bT'), values('negativeB0T')))
      : factorTensors(settings.rank, site, values('A'), values('bT')),

  importSite(settings, site, tensors) {
    const { rank } = settings;
    const { a, bT } = factorsFrom(tensors, site, takesPart(settings) ? 2 * rank : rank);
    const own = [
      ['A', a.slice(0, rank * site.inputs)],
      ['bT', bT.slice(0, rank * site.outputs)],
    ] as const;
    const frozen = [
      ['A0', a.slice(rank * site.inputs)],
      ['negativeB0T', bT.slice(rank * site.outputs)],
    ] as const;
    return new Map(takesPart(settings) ? [...own, ...frozen] : own);
  },
};

function joined(above: Float32Array, below: Float32Array): Float32Array {
  const rows = new Float32Array(above.length + below.length);
  rows.set(above);
  rows.set(below, above.length);
  return rows;
}
