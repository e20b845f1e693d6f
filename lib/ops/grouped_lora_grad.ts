import { ShapeError } from '../errors.js';
import type { OpName } from '../generated/op_table.js';
import type { Tensor } from '../graph/tensor.js';
import { formatShape } from '../runtime/shape.js';
import { type AdapterRouting, expectRouting } from './adapter_routing.js';
import { apply, expectDType, expectRank, expectSameDimension, expectShape, type Rules } from './op_rule.js';

type GroupedGradientOp =
  | 'grouped_lora_grad_x'
  | 'grouped_lora_grad_factors'
  | 'grouped_lora_grad_weight'
  | 'grouped_embedding_grad_factors';

/** The sites that share x, as in groupedLora. */
export interface AdapterSites {
  /** Number of the first. */
  site: number;
  /** i32 [sites + 1]: where each begins in the columns of y. */
  columns: Tensor;
}

function expectColumns(op: OpName, columns: Tensor): void {
  expectDType(op, 'columns', columns, 'i32');
  expectRank(op, 'columns', columns, 1);
  const [count] = columns.shape;
  if (typeof count === 'number' && count < 2)
    throw new ShapeError(`[${op}] columns is ${formatShape(columns.shape)}: expected [sites + 1]`, {
      op,
      operand: 'columns',
      actual: columns.shape,
    });
}

function expectSameTokens(op: OpName, x: Tensor, dy: Tensor, name: string): void {
  expectDType(op, name, x, 'f32');
  expectRank(op, name, x, 2);
  expectSameDimension(op, { name: 'dy', tensor: dy, axis: 0 }, { name, tensor: x, axis: 0 });
}

function expectGradients(op: OpName, gradients: Tensor): void {
  expectDType(op, 'gradients', gradients, 'f32');
  expectRank(op, 'gradients', gradients, 1);
}

/** @internal Result types of the gradients of grouped adapters, and the errors where inputs do not fit. */
export const groupedLoraGradientRules: Rules<GroupedGradientOp> = {
  grouped_lora_grad_x: {
    infer: ({ dy, base, columns, ...routing }) => {
      expectRouting('grouped_lora_grad_x', 'dy', dy, routing);
      expectColumns('grouped_lora_grad_x', columns);
      expectSameTokens('grouped_lora_grad_x', base, dy, 'base');
      return { dx: { dtype: 'f32', shape: base.shape } };
    },
  },
  grouped_lora_grad_factors: {
    infer: ({ x, dy, gradients, columns, ...routing }) => {
      expectRouting('grouped_lora_grad_factors', 'dy', dy, routing);
      expectColumns('grouped_lora_grad_factors', columns);
      expectSameTokens('grouped_lora_grad_factors', x, dy, 'x');
      expectGradients('grouped_lora_grad_factors', gradients);
      return { accumulated: { dtype: 'f32', shape: gradients.shape } };
    },
  },
  grouped_lora_grad_weight: {
    infer: ({ x, dy, base, columns, ...routing }) => {
      expectRouting('grouped_lora_grad_weight', 'dy', dy, routing);
      expectColumns('grouped_lora_grad_weight', columns);
      expectSameTokens('grouped_lora_grad_weight', x, dy, 'x');
      expectDType('grouped_lora_grad_weight', 'base', base, 'f32');
      expectShape('grouped_lora_grad_weight', 'base', base, routing.index.shape, 'the shape of index');
      return { dweight: { dtype: 'f32', shape: base.shape } };
    },
  },
  grouped_embedding_grad_factors: {
    infer: ({ ids, dy, gradients, ...routing }) => {
      expectRouting('grouped_embedding_grad_factors', 'dy', dy, routing);
      expectDType('grouped_embedding_grad_factors', 'ids', ids, 'i32');
      expectRank('grouped_embedding_grad_factors', 'ids', ids, 1);
      expectSameDimension('grouped_embedding_grad_factors', { name: 'dy', tensor: dy, axis: 0 }, { name: 'ids', tensor: ids, axis: 0 });
      expectGradients('grouped_embedding_grad_factors', gradients);
      return { accumulated: { dtype: 'f32', shape: gradients.shape } };
    },
  },
};

/**
 * base + Σ sites and routes of weight · scale · Aᵀ (Bᵀ dy): the gradient of groupedLora to x, added in place to what the base's own
 * layers gave. dy f32 [tokens, columns], base f32 [tokens, inputs]. Low-rank entries without gain; others are refused at run time.
 */
export const groupedLoraGradX = (dy: Tensor, base: Tensor, routing: AdapterRouting, { site, columns }: AdapterSites): Tensor =>
  apply('grouped_lora_grad_x', groupedLoraGradientRules.grouped_lora_grad_x, { dy, base, ...routing, columns }, { site }).dx;

/**
 * Adds the gradients of every adapter's f32 factors (and shifts) to `gradients` f32 [elements], a state laid out as the pool: the row
 * at byte a has its gradient at element a / 4. Each adapter sums over its own tokens in ascending order, whoever else is in the batch,
 * and from what was there, so that steps add up. x f32 [tokens, inputs], dy f32 [tokens, columns]. Entries with a gain, whole weights,
 * 16-bit factors, and rows that overlap are refused at run time.
 */
export const groupedLoraGradFactors = (
  x: Tensor,
  dy: Tensor,
  gradients: Tensor,
  routing: AdapterRouting,
  { site, columns }: AdapterSites,
): Tensor =>
  apply(
    'grouped_lora_grad_factors',
    groupedLoraGradientRules.grouped_lora_grad_factors,
    { x, dy, gradients, ...routing, columns },
    { site },
  ).accumulated;

/**
 * base + Σ sites of dy · (scale B (A x) + shift) for each route: the gradient of groupedLora to the routes' weights, added in place.
 * base f32 [tokens, routes]; a route of slot -1 adds nothing. Refuses the same entries as groupedLoraGradX.
 */
export const groupedLoraGradWeight = (
  x: Tensor,
  dy: Tensor,
  base: Tensor,
  { weight: _, ...routing }: AdapterRouting,
  { site, columns }: AdapterSites,
): Tensor =>
  apply('grouped_lora_grad_weight', groupedLoraGradientRules.grouped_lora_grad_weight, { x, dy, base, ...routing, columns }, { site })
    .dweight;

/**
 * Adds to `gradients`, as groupedLoraGradFactors does, what groupedEmbedding's adapters get: factors, own rows of ids, shifts.
 * ids i32 [tokens], a negative one is no token; dy f32 [tokens, width]. Entries with a gain, 16-bit factors and rows that overlap are
 * refused at run time.
 */
export const groupedEmbeddingGradFactors = (
  ids: Tensor,
  dy: Tensor,
  gradients: Tensor,
  routing: AdapterRouting,
  options: { site: number },
): Tensor =>
  apply(
    'grouped_embedding_grad_factors',
    groupedLoraGradientRules.grouped_embedding_grad_factors,
    { ids, dy, gradients, ...routing },
    options,
  ).accumulated;
