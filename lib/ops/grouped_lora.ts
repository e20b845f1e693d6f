import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { formatShape } from '../runtime/shape.js';
import { type Attrs, apply, expectDType, expectRank, expectSameDimension, expectShape, fixed, type Rules } from './op_rule.js';

type GroupedOp = 'grouped_lora' | 'grouped_embedding' | 'grouped_norm' | 'grouped_prompt';

/** Which adapters each token uses, and where they lie. Shared by all sites of a step. */
export interface AdapterRouting {
  /** i32 [tokens, routes]: slot of an adapter, -1: none. */
  index: Tensor;
  /** f32 [tokens, routes] */
  weight: Tensor;
  /** i32 [slots, sites, 8] */
  entries: Tensor;
  /** i32 [rows] */
  rows: Tensor;
  /** u8 [bytes]: the page pool. */
  pool: Tensor;
}

function checkRouting(op: GroupedOp, base: Tensor, routing: AdapterRouting) {
  expectDType(op, 'base', base, 'f32');
  expectRank(op, 'base', base, 2);
  for (const [name, dtype] of [
    ['index', 'i32'],
    ['weight', 'f32'],
    ['entries', 'i32'],
    ['rows', 'i32'],
    ['pool', 'u8'],
  ] as const)
    expectDType(op, name, routing[name], dtype);
  expectRank(op, 'index', routing.index, 2);
  expectShape(op, 'weight', routing.weight, routing.index.shape, 'the shape of index');
  expectRank(op, 'entries', routing.entries, 3);
  expectSameDimension(op, { name: 'base', tensor: base, axis: 0 }, { name: 'index', tensor: routing.index, axis: 0 });
  return { y: { dtype: 'f32', shape: base.shape } } as const;
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
  },
  grouped_embedding: {
    infer: ({ ids, base, ...routing }) => {
      expectDType('grouped_embedding', 'ids', ids, 'i32');
      expectSameDimension('grouped_embedding', { name: 'ids', tensor: ids, axis: 0 }, { name: 'base', tensor: base, axis: 0 });
      return checkRouting('grouped_embedding', base, routing);
    },
  },
  grouped_norm: {
    infer: ({ x, base, ...routing }) => {
      expectShape('grouped_norm', 'base', base, x.shape, 'the shape of x');
      return checkRouting('grouped_norm', base, routing);
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
 */
export const groupedLora = (
  x: Tensor,
  base: Tensor,
  routing: AdapterRouting,
  options: { site: number; columns: Tensor; baseBias?: Tensor | undefined },
): Tensor =>
  apply(
    'grouped_lora',
    groupedLoraRules.grouped_lora,
    { x, base, baseBias: options.baseBias, ...routing, columns: options.columns },
    { site: options.site },
  ).y;

/** Embedding rows plus each token's adapter delta for its id. ids i32 [tokens], base f32 [tokens, width]. */
export const groupedEmbedding = (ids: Tensor, base: Tensor, routing: AdapterRouting, options: { site: number }): Tensor =>
  apply('grouped_embedding', groupedLoraRules.grouped_embedding, { ids, base, ...routing }, options).y;

/** Normalised rows, with the adapter's own weights where it has some. x and base f32 [tokens, width]. */
export const groupedNorm = (x: Tensor, base: Tensor, routing: AdapterRouting, attrs: Attrs<'grouped_norm'>): Tensor =>
  apply('grouped_norm', groupedLoraRules.grouped_norm, { x, base, ...routing }, attrs).y;

/**
 * base plus each token's gated attention to the keys and values that its adapter keeps at this site. q f32 [tokens, heads, width],
 * base f32 [tokens, heads * width]. Zhang et al. (LLaMA-Adapter), https://arxiv.org/abs/2303.16199.
 */
export const groupedPrompt = (q: Tensor, base: Tensor, routing: AdapterRouting, attrs: Attrs<'grouped_prompt'>): Tensor =>
  apply('grouped_prompt', groupedLoraRules.grouped_prompt, { q, base, ...routing }, attrs).y;
