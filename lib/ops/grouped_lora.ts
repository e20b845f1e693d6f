import { OptionError, ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { formatShape } from '../runtime/shape.js';
import { type AdapterRouting, expectRouting } from './adapter_routing.js';
import { groupedEmbeddingGradFactors, groupedLoraGradFactors, groupedLoraGradWeight, groupedLoraGradX } from './grouped_lora_grad.js';
import {
  type Attrs,
  apply,
  expectDType,
  expectRank,
  expectSameDimension,
  expectShape,
  fixed,
  type GradientCall,
  optionsOf,
  type Rules,
} from './op_rule.js';

type GroupedOp = 'grouped_lora' | 'grouped_embedding' | 'grouped_norm' | 'grouped_prompt';

function checkRouting(op: GroupedOp, base: Tensor, routing: AdapterRouting, rank = 2) {
  expectRouting(op, 'base', base, routing, rank);
  return { y: { dtype: 'f32', shape: base.shape } } as const;
}

function refuseGradient(op: GroupedOp, why: string): never {
  throw new OptionError(`[${op}] ${why}`, { op });
}

// The gradient to base is y's own: right where entries have neither a gain nor a whole weight, which the kernels of the other gradients see.
function loraGradient({ inputs, attrs: { site }, upstream, wants, differentiable }: GradientCall<'grouped_lora'>) {
  const { x, base: _base, baseBias: _bias, columns, ...routing } = inputs;
  const { y } = upstream;
  if (differentiable) refuseGradient('grouped_lora', 'has no second derivative: build the adapter from matmul for that');
  if (wants('baseBias')) refuseGradient('grouped_lora', 'has no gradient to baseBias: it is part of the frozen base');
  if (wants('base') && !wants('x') && !wants('pool') && !wants('weight'))
    refuseGradient('grouped_lora', 'has a gradient to base only together with one to x, pool or weight');
  const sites = { site, columns };
  return {
    base: y,
    x: wants('x') ? (sum: Tensor) => groupedLoraGradX(y, sum, routing, sites) : undefined,
    weight: wants('weight') ? (sum: Tensor) => groupedLoraGradWeight(x, y, sum, routing, sites) : undefined,
    pool: wants('pool') ? (gradients: Tensor) => groupedLoraGradFactors(x, y, gradients, routing, sites) : undefined,
  };
}

function embeddingGradient({ inputs, attrs, upstream, wants, differentiable }: GradientCall<'grouped_embedding'>) {
  const { ids, base: _, ...routing } = inputs;
  if (differentiable) refuseGradient('grouped_embedding', 'has no second derivative: build the adapter from matmul for that');
  if (wants('base') || wants('weight'))
    refuseGradient('grouped_embedding', `has no gradient to ${wants('base') ? 'base' : 'weight'}: only to the adapters in pool`);
  return { pool: (gradients: Tensor) => groupedEmbeddingGradFactors(ids, upstream.y, gradients, routing, attrs) };
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const groupedLoraRules: Rules<GroupedOp> = {
  grouped_lora: {
    infer: ({ x, base, baseBias, columns, ...routing }) => {
      expectDType('grouped_lora', 'x', x, 'f32');
      expectDType('grouped_lora', 'baseBias', baseBias, 'f32');
      expectDType('grouped_lora', 'columns', columns, 'i32');
      expectRank('grouped_lora', 'x', x, 2);
      expectSameDimension('grouped_lora', { name: 'x', tensor: x, axis: 0 }, { name: 'base', tensor: base, axis: 0 });
      if (baseBias !== undefined)
        expectSameDimension('grouped_lora', { name: 'base', tensor: base, axis: 1 }, { name: 'baseBias', tensor: baseBias, axis: 0 });
      return checkRouting('grouped_lora', base, routing);
    },
    gradient: loraGradient,
  },
  grouped_embedding: {
    infer: ({ ids, base, ...routing }) => {
      expectDType('grouped_embedding', 'ids', ids, 'i32');
      expectSameDimension('grouped_embedding', { name: 'ids', tensor: ids, axis: 0 }, { name: 'base', tensor: base, axis: 0 });
      return checkRouting('grouped_embedding', base, routing);
    },
    gradient: embeddingGradient,
  },
  grouped_norm: {
    infer: ({ x, base, ...routing }) => {
      expectDType('grouped_norm', 'x', x, 'f32');
      expectShape('grouped_norm', 'base', base, x.shape, 'the shape of x');
      return checkRouting('grouped_norm', base, routing, x.shape.length === 3 ? 3 : 2);
    },
  },
  grouped_prompt: {
    infer: ({ q, base, ...routing }, { keyHeads }) => {
      expectDType('grouped_prompt', 'q', q, 'f32');
      expectRank('grouped_prompt', 'q', q, 3);
      const [tokens, heads, width] = [q.shape[0] as number, fixed('grouped_prompt', 'q', q, 1), fixed('grouped_prompt', 'q', q, 2)];
      expectShape('grouped_prompt', 'base', base, [tokens, heads * width], 'the heads of q side by side');
      if (!(keyHeads >= 1) || heads % keyHeads !== 0)
        throw new ShapeError(`[grouped_prompt] q is ${formatShape(q.shape)}: its heads cannot be shared equally by ${keyHeads} key heads`, {
          op: 'grouped_prompt',
        });
      return checkRouting('grouped_prompt', base, routing);
    },
  },
};

/**
 * base + Σ routes of each token's low-rank deltas B (A x), for all sites that share x; columns[s] is where site s begins in base.
 * x f32 [tokens, inputs], base f32 [tokens, columns]. Ragged ranks, paged rows. Chen et al. (Punica), https://arxiv.org/abs/2310.18547;
 * Sheng et al. (S-LoRA), https://arxiv.org/abs/2311.03285.
 *
 * Gradients: to x, base and routing.weight as to any tensor; to the factors as to the parameter `routing.pool`, whose gradients go `into` a
 * state f32 [pool bytes / 4] laid out as the pool. Low-rank entries with f32 factors and without gain.
 */
export const groupedLora = (
  x: Tensor,
  base: Tensor,
  routing: AdapterRouting,
  options: { site: number; columns: Tensor; baseBias?: Tensor | undefined },
): Tensor => {
  const { site, columns, baseBias } = optionsOf('grouped_lora', options, { site: undefined, columns: undefined, baseBias: undefined });
  return apply('grouped_lora', groupedLoraRules.grouped_lora, { x, base, baseBias, ...routing, columns }, { site }).y;
};

/** Embedding rows plus each token's adapter delta for its id. ids i32 [tokens], base f32 [tokens, width]. */
export const groupedEmbedding = (ids: Tensor, base: Tensor, routing: AdapterRouting, options: { site: number }): Tensor =>
  apply('grouped_embedding', groupedLoraRules.grouped_embedding, { ids, base, ...routing }, options).y;

/**
 * Normalised rows, with the adapter's own weights where it has some. x and base f32 [tokens, width], or [tokens, heads, width], where
 * heads are normalised one by one and share a weight.
 */
export const groupedNorm = (x: Tensor, base: Tensor, routing: AdapterRouting, attrs: Attrs<'grouped_norm'>): Tensor =>
  apply('grouped_norm', groupedLoraRules.grouped_norm, { x, base, ...routing }, attrs).y;

/**
 * base plus each token's gated attention to the keys and values that its adapter keeps at this site. q f32 [tokens, heads, width],
 * base f32 [tokens, heads * width]. Zhang et al. (LLaMA-Adapter), https://arxiv.org/abs/2303.16199.
 */
export const groupedPrompt = (q: Tensor, base: Tensor, routing: AdapterRouting, attrs: Attrs<'grouped_prompt'>): Tensor =>
  apply('grouped_prompt', groupedLoraRules.grouped_prompt, { q, base, ...routing }, attrs).y;
