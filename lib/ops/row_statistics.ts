// Sums over the last dimension as gradients use them: repeated into the shape of what was summed.
import type { Tensor } from '../graph/tensor.js';
import type { Dimension } from '../runtime/shape.js';
import { add, scale } from './elementwise.js';
import { reduce, repeatColumns } from './reduce.js';

// Calls `f` with x as rows [.., n]: a vector is one row.
function asRows(x: Tensor, f: (rows: Tensor) => Tensor): Tensor {
  return x.shape.length > 1 ? f(x) : f(x.reshape([1, x.shape[0] as Dimension])).reshape(x.shape);
}

/** @internal a - b. */
export const subtract = (a: Tensor, b: Tensor): Tensor => add(a, scale(b, -1));

/** @internal What `statistic` says of each row, in every element of the row. */
export const spread = (x: Tensor, statistic: (rows: Tensor) => Tensor): Tensor => asRows(x, (rows) => repeatColumns(statistic(rows), rows));

/** @internal The sum of each row, in every element of the row. */
export const spreadSum = (x: Tensor): Tensor => spread(x, (rows) => reduce(rows, 'sum'));

/** @internal The mean of each row, in every element of the row. */
export const spreadMean = (x: Tensor): Tensor => spread(x, (rows) => reduce(rows, 'mean'));
