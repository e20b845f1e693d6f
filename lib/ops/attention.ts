import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { formatShape } from '../runtime/shape.js';
import { type Attrs, apply, expectDType, expectRank, expectSameDimension, expectShape, fixed, type Rules } from './op_rule.js';

/** Positions per page of the cache. */
export const blockTokens = 16;

function checkPaging(
  op: 'kv_write' | 'attention',
  leading: Tensor,
  paging: { pool: Tensor; blockTable: Tensor; positions: Tensor; request: Tensor },
) {
  const { pool, blockTable, positions, request } = paging;
  expectDType(op, 'pool', pool, 'u8');
  for (const [name, tensor] of Object.entries({ blockTable, positions, request })) expectDType(op, name, tensor, 'i32');
  expectRank(op, 'blockTable', blockTable, 2);
  expectShape(op, 'positions', positions, [leading.shape[0] as number], 'one per token');
  expectShape(op, 'request', request, [leading.shape[0] as number], 'one per token');
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const attentionRules: Rules<'kv_write' | 'attention'> = {
  kv_write: {
    infer: ({ k, v, table, ...paging }) => {
      expectRank('kv_write', 'k', k, 3);
      expectShape('kv_write', 'v', v, k.shape, 'the shape of k');
      for (const [name, tensor] of Object.entries({ k, v })) expectDType('kv_write', name, tensor, 'f32');
      checkPaging('kv_write', k, paging);
      if (table !== undefined) {
        expectDType('kv_write', 'table', table, 'f32');
        expectSameDimension('kv_write', { name: 'k', tensor: k, axis: 0 }, { name: 'table', tensor: table, axis: 0 });
        if (fixed('kv_write', 'table', table, 1) > fixed('kv_write', 'k', k, 2))
          throw new ShapeError(
            `[kv_write] k is ${formatShape(k.shape)} but table is ${formatShape(table.shape)}: it rotates more channels than k has`,
            { op: 'kv_write' },
          );
      }
      return { written: { dtype: 'u8', shape: paging.pool.shape } };
    },
  },
  attention: {
    infer: ({ q, ...paging }, { keyHeads }) => {
      expectDType('attention', 'q', q, 'f32');
      expectRank('attention', 'q', q, 3);
      checkPaging('attention', q, paging);
      if (fixed('attention', 'q', q, 1) % keyHeads !== 0)
        throw new ShapeError(`[attention] q is ${formatShape(q.shape)}: its heads cannot be shared equally by ${keyHeads} key heads`, {
          op: 'attention',
        });
      expectSameDimension('attention', { name: 'q', tensor: q, axis: 0 }, { name: 'positions', tensor: paging.positions, axis: 0 });
      return { y: { dtype: 'f32', shape: q.shape } };
    },
  },
};

/** Where a step's tokens lie in the cache. */
export interface Paging {
  /** u8 [bytes]: the page pool. */
  pool: Tensor;
  /** i32 [requests, blocks]: pages of each request. */
  blockTable: Tensor;
  /** i32 [tokens]: position of each token in its request; negative: not a token. */
  positions: Tensor;
  /** i32 [tokens]: row of blockTable. */
  request: Tensor;
}

/**
 * Stores keys and values f32 [tokens, heads, width] in the cache and gives the pool as it is then. With `table` (of `ropeTable`) the keys are
 * rotated on their way; the planner does the same with a `rope` that nothing else reads.
 */
export const kvWrite = (
  k: Tensor,
  v: Tensor,
  paging: Paging & { table?: Tensor },
  attrs: Omit<Attrs<'kv_write'>, 'interleaved'> & { interleaved?: boolean },
): Tensor => apply('kv_write', attentionRules.kv_write, { k, v, ...paging }, { interleaved: false, ...attrs }).written;

/** Attention of q f32 [tokens, heads, width] over the cached positions of each token's request up to its own. Causal, paged, ragged. */
export const attention = (q: Tensor, paging: Paging, attrs: Attrs<'attention'>): Tensor =>
  apply('attention', attentionRules.attention, { q, ...paging }, attrs).y;
