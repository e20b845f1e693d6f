import type { Tensor } from '../graph/tensor.js';
import { type Dimension, product } from '../runtime/shape.js';
import { activationSlope } from './activation_slope.js';
import { map } from './map.js';
import { type Attrs, apply, expectDType, expectRank, expectSameDimension, expectShape, type Rules } from './op_rule.js';
import { reduce, sumRows } from './reduce.js';

/** Functions that `activate` and `gate` can apply. */
export type Activation = Attrs<'activate'>['function'];

function sameAsFirst(op: 'add' | 'mul' | 'divide' | 'gate', a: [string, Tensor], b: [string, Tensor]) {
  for (const [name, tensor] of [a, b]) expectDType(op, name, tensor, 'f32');
  expectShape(op, b[0], b[1], a[1].shape, `the shape of ${a[0]}`);
  return { y: { dtype: 'f32', shape: a[1].shape } } as const;
}

function sameAsX(op: 'scale' | 'activate' | 'soft_cap', x: Tensor) {
  expectDType(op, 'x', x, 'f32');
  return { y: { dtype: 'f32', shape: x.shape } } as const;
}

function sameAsAll(op: 'activate_grad' | 'gate_grad' | 'soft_cap_grad', tensors: Readonly<Record<string, Tensor>>) {
  const [[first, model]] = Object.entries(tensors) as [[string, Tensor]];
  for (const [name, tensor] of Object.entries(tensors)) {
    expectDType(op, name, tensor, 'f32');
    expectShape(op, name, tensor, model.shape, `the shape of ${first}`);
  }
  return { dtype: 'f32', shape: model.shape } as const;
}

function scaled(op: 'scale_columns' | 'scale_rows', x: Tensor, factor: Tensor, axis: number) {
  expectDType(op, 'x', x, 'f32');
  expectDType(op, 'factor', factor, 'f32');
  expectRank(op, 'factor', factor, 1);
  expectSameDimension(op, { name: 'x', tensor: x, axis }, { name: 'factor', tensor: factor, axis: 0 });
  return { y: { dtype: 'f32', shape: x.shape } } as const;
}

// One number for each index of the leading dimension.
function sumsOfRows(x: Tensor): Tensor {
  const inner = product(x.shape.slice(1));
  const rows = x.shape.length > 2 && inner !== undefined ? x.reshape([x.shape[0] as Dimension, inner]) : x;
  return rows.shape.length === 1 ? rows : reduce(rows, 'sum');
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const elementwiseRules: Rules<
  | 'add'
  | 'mul'
  | 'divide'
  | 'add_bias'
  | 'scale'
  | 'scale_columns'
  | 'scale_rows'
  | 'activate'
  | 'activate_grad'
  | 'gate'
  | 'gate_grad'
  | 'soft_cap'
  | 'soft_cap_grad'
  | 'copy'
  | 'zeros_like'
  | 'accumulate'
> = {
  add: {
    infer: ({ a, b }) => sameAsFirst('add', ['a', a], ['b', b]),
    gradient: ({ upstream: { y } }) => ({ a: y, b: y }),
  },
  mul: {
    infer: ({ a, b }) => sameAsFirst('mul', ['a', a], ['b', b]),
    gradient: ({ inputs: { a, b }, upstream: { y }, wants }) => ({
      a: wants('a') ? mul(y, b) : undefined,
      b: wants('b') ? mul(y, a) : undefined,
    }),
  },
  divide: {
    infer: ({ a, b }) => sameAsFirst('divide', ['a', a], ['b', b]),
    gradient: ({ inputs: { b }, outputs, upstream: { y }, wants }) => {
      const share = divide(y, b);
      return { a: share, b: wants('b') ? map(mul(share, outputs.y), 'neg') : undefined };
    },
  },
  gate: {
    infer: ({ gate, up }) => sameAsFirst('gate', ['gate', gate], ['up', up]),
    gradient: ({ inputs, attrs, upstream: { y }, wants, differentiable }) => {
      if (!differentiable) {
        const { dGate, dUp } = apply<'gate_grad'>('gate_grad', elementwiseRules.gate_grad, { ...inputs, dy: y }, attrs);
        return { gate: dGate, up: dUp };
      }
      return {
        gate: wants('gate') ? mul(mul(y, inputs.up), activationSlope(inputs.gate, attrs.function)) : undefined,
        up: wants('up') ? mul(y, activate(inputs.gate, attrs.function)) : undefined,
      };
    },
  },
  gate_grad: {
    infer: ({ gate, up, dy }) => {
      const type = sameAsAll('gate_grad', { gate, up, dy });
      return { dGate: type, dUp: type };
    },
  },
  add_bias: {
    infer: ({ x, bias }) => {
      expectDType('add_bias', 'x', x, 'f32');
      expectDType('add_bias', 'bias', bias, 'f32');
      expectSameDimension('add_bias', { name: 'x', tensor: x, axis: -1 }, { name: 'bias', tensor: bias, axis: 0 });
      return { y: { dtype: 'f32', shape: x.shape } };
    },
    gradient: ({ upstream: { y }, wants }) => ({ x: y, bias: wants('bias') ? sumRows(y) : undefined }),
  },
  scale_columns: {
    infer: ({ x, factor }) => scaled('scale_columns', x, factor, -1),
    gradient: ({ inputs: { x, factor }, upstream: { y }, wants }) => ({
      x: wants('x') ? scaleColumns(y, factor) : undefined,
      factor: wants('factor') ? sumRows(mul(y, x)) : undefined,
    }),
  },
  scale_rows: {
    infer: ({ x, factor }) => scaled('scale_rows', x, factor, 0),
    gradient: ({ inputs: { x, factor }, upstream: { y }, wants }) => ({
      x: wants('x') ? scaleRows(y, factor) : undefined,
      factor: wants('factor') ? sumsOfRows(mul(y, x)) : undefined,
    }),
  },
  scale: {
    infer: ({ x }) => sameAsX('scale', x),
    gradient: ({ attrs, upstream: { y } }) => ({ x: scale(y, attrs.factor) }),
  },
  activate: {
    infer: ({ x }) => sameAsX('activate', x),
    gradient: ({ inputs: { x }, attrs, upstream: { y }, differentiable }) => ({
      x: differentiable
        ? mul(y, activationSlope(x, attrs.function))
        : apply<'activate_grad'>('activate_grad', elementwiseRules.activate_grad, { x, dy: y }, attrs).dx,
    }),
  },
  activate_grad: { infer: ({ x, dy }) => ({ dx: sameAsAll('activate_grad', { x, dy }) }) },
  soft_cap: {
    infer: ({ x }) => sameAsX('soft_cap', x),
    gradient: ({ inputs: { x }, outputs, attrs, upstream: { y }, differentiable }) => ({
      x: differentiable
        ? mul(y, map(map(scale(outputs.y, 1 / attrs.cap), 'square'), 'complement'))
        : apply<'soft_cap_grad'>('soft_cap_grad', elementwiseRules.soft_cap_grad, { x, dy: y }, attrs).dx,
    }),
  },
  soft_cap_grad: { infer: ({ x, dy }) => ({ dx: sameAsAll('soft_cap_grad', { x, dy }) }) },
  copy: {
    infer: ({ x }) => ({ y: { dtype: x.dtype, shape: x.shape } }),
    gradient: ({ upstream: { y } }) => ({ x: y }),
  },
  zeros_like: { infer: ({ x }) => ({ y: { dtype: 'f32', shape: x.shape } }), gradient: () => ({}) },
  accumulate: {
    infer: ({ target, x }) => {
      for (const [name, tensor] of Object.entries({ target, x })) expectDType('accumulate', name, tensor, 'f32');
      expectShape('accumulate', 'x', x, target.shape, 'the shape of target');
      return { sum: { dtype: 'f32', shape: target.shape } };
    },
    gradient: ({ upstream: { sum } }) => ({ target: sum, x: sum }),
  },
};

/** a + b. f32, equal shapes. */
export const add = (a: Tensor, b: Tensor): Tensor => apply('add', elementwiseRules.add, { a, b }, {}).y;

/** a * b element by element. f32, equal shapes. */
export const mul = (a: Tensor, b: Tensor): Tensor => apply('mul', elementwiseRules.mul, { a, b }, {}).y;

/** a / b element by element. f32, equal shapes. Throws DTypeError or ShapeError where they differ. */
export const divide = (a: Tensor, b: Tensor): Tensor => apply('divide', elementwiseRules.divide, { a, b }, {}).y;

/** x times a factor for each column. x f32 [.., n], factor f32 [n] → [.., n]. Throws ShapeError where n differs. */
export const scaleColumns = (x: Tensor, factor: Tensor): Tensor =>
  apply('scale_columns', elementwiseRules.scale_columns, { x, factor }, {}).y;

/** x times a factor for each index of the leading dimension. x f32 [rows, ..], factor f32 [rows] → [rows, ..]. Throws ShapeError where rows differ. */
export const scaleRows = (x: Tensor, factor: Tensor): Tensor => apply('scale_rows', elementwiseRules.scale_rows, { x, factor }, {}).y;

/** x + bias over the last dimension. x f32 [.., n], bias f32 [n]. */
export const addBias = (x: Tensor, bias: Tensor): Tensor => apply('add_bias', elementwiseRules.add_bias, { x, bias }, {}).y;

/** factor * x. f32. */
export const scale = (x: Tensor, factor: number): Tensor => apply('scale', elementwiseRules.scale, { x }, { factor }).y;

/** f(x) element by element. f32. */
export const activate = (x: Tensor, f: Activation): Tensor => apply('activate', elementwiseRules.activate, { x }, { function: f }).y;

/** max(x, 0). f32. */
export const relu = (x: Tensor): Tensor => activate(x, 'relu');

/** f(gate) * up, the product inside gated feed-forward layers. f32, equal shapes. */
export const gate = (gated: Tensor, up: Tensor, f: Activation): Tensor =>
  apply('gate', elementwiseRules.gate, { gate: gated, up }, { function: f }).y;

/** cap * tanh(x / cap). f32. */
export const softCap = (x: Tensor, cap: number): Tensor => apply('soft_cap', elementwiseRules.soft_cap, { x }, { cap }).y;

/** A dense copy of x. Any dtype. */
export const copy = (x: Tensor): Tensor => apply('copy', elementwiseRules.copy, { x }, {}).y;

/** Zeros f32 in the shape of x. */
export const zerosLike = (x: Tensor): Tensor => apply('zeros_like', elementwiseRules.zeros_like, { x }, {}).y;

/** target + x, written over target: memory of a state or parameter changes. f32, equal shapes. */
export const accumulate = (target: Tensor, x: Tensor): Tensor => apply('accumulate', elementwiseRules.accumulate, { target, x }, {}).sum;
