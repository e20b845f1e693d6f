import type { OpName } from '../generated/op_table.js';
import type { Tensor } from '../graph/tensor.js';
import { expectDType, expectRank, expectSameDimension, expectShape } from './op_rule.js';

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

/** @internal Throws unless the operands that say where adapters lie have their types and a row of routes per row of `base`, of rank `rank`. */
export function expectRouting(
  op: OpName,
  name: string,
  base: Tensor,
  routing: Omit<AdapterRouting, 'weight'> & { weight?: Tensor },
  rank = 2,
): void {
  expectDType(op, name, base, 'f32');
  expectRank(op, name, base, rank);
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
  expectSameDimension(op, { name, tensor: base, axis: 0 }, { name: 'index', tensor: routing.index, axis: 0 });
}
