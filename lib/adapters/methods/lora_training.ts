import { OptionError } from '../../errors.js';
import type { Tensor } from '../../graph/tensor.js';
import { add, matmul, scale } from '../../ops/index.js';
import type { AdapterBase, SiteShape } from '../method.js';
import type { MethodSettings, ParameterSpec, ParameterValues, SiteGraph, TrainableMethod } from '../trainable_method.js';

/** alpha / rank, or with rsLoRA alpha / √rank (Kalajdzievski, https://arxiv.org/abs/2312.03732). */
export function loraScale({ alpha, rank, rsLora }: MethodSettings): number {
  return alpha / (rsLora ? Math.sqrt(rank) : rank);
}

/** B (A x) · scale with ordinary ops, for graphs that are differentiated twice and for methods built on factors. */
export function lowRankProduct(x: Tensor, a: Tensor, bT: Tensor, factor: number): Tensor {
  return scale(matmul(matmul(x, a, { transposeB: true }), bT), factor);
}

/** adapter_config.json of a LoRA adapter. */
export function loraConfigFile(settings: MethodSettings, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: settings.rank,
    lora_alpha: settings.alpha,
    use_rslora: settings.rsLora,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    ...more,
  };
}

/** Rows become columns: [rows, width] → [width, rows]. */
export function turned(values: Float32Array, rows: number, width: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < width; c++) out[c * rows + r] = values[r * width + c] as number;
  return out;
}

const starts = ['default', 'gaussian'];

/** A as PEFT begins it: uniform as of Kaiming with a = √5, or normal with deviation 1 / rank. */
export function initialA({ init, rank }: MethodSettings, inputs: number): ParameterSpec['initial'] {
  return init === 'gaussian' ? { kind: 'normal', deviation: 1 / rank } : { kind: 'uniform', bound: 1 / Math.sqrt(inputs) };
}

/** Low-rank adapters, y = W x + scale · B (A x). Hu et al., https://arxiv.org/abs/2106.09685; LoRA+ (Hayou et al., https://arxiv.org/abs/2402.12354) by `loraPlusRatio`. */
export const loraTraining: TrainableMethod = {
  name: 'lora',
  sites: ['linear'],

  check({ init }) {
    if (init !== undefined && !starts.includes(init))
      throw new OptionError(`init is '${init}': expected ${starts.join(' or ')}`, { option: 'init', actual: init, expected: starts });
  },

  async parameters(settings: MethodSettings, site: SiteShape, _base: AdapterBase): Promise<readonly ParameterSpec[]> {
    const { rank, loraPlusRatio } = settings;
    return [
      { part: 'A', shape: [rank, site.inputs], initial: initialA(settings, site.inputs), trained: true },
      { part: 'bT', shape: [rank, site.outputs], initial: { kind: 'constant', value: 0 }, trained: true, rateMultiplier: loraPlusRatio },
    ];
  },

  factors: (settings) => ({ a: ['A'], bT: ['bT'], scale: loraScale(settings) }),

  forward: (settings: MethodSettings, at: SiteGraph) =>
    add(at.base, lowRankProduct(at.x, at.parameter('A'), at.parameter('bT'), loraScale(settings))),

  startsAtBase: () => true,

  config: (settings) => loraConfigFile(settings),

  exportSite: ({ rank }, site, values: ParameterValues) => [
    { name: 'lora_A.weight', shape: [rank, site.inputs], data: values('A') },
    { name: 'lora_B.weight', shape: [site.outputs, rank], data: turned(values('bT'), rank, site.outputs) },
  ],

  importSite: ({ rank }, site, tensors) =>
    new Map([
      ['A', tensors.get('lora_A.weight') as Float32Array],
      ['bT', turned(tensors.get('lora_B.weight') as Float32Array, site.outputs, rank)],
    ]),
};
