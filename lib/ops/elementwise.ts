import type { Tensor } from '../graph/tensor.js';
import { type Attrs, apply, expectDType, expectSameDimension, expectShape, type Rules } from './op_rule.js';

/** Functions that `activate` and `gate` can apply. */
export type Activation = Attrs<'activate'>['function'];

function sameAsFirst(op: 'add' | 'mul' | 'gate', a: [string, Tensor], b: [string, Tensor]) {
  for (const [name, tensor] of [a, b]) expectDType(op, name, tensor, 'f32');
  expectShape(op, b[0], b[1], a[1].shape, `the shape of ${a[0]}`);
  return { y: { dtype: 'f32', shape: a[1].shape } } as const;
}

function sameAsX(op: 'scale' | 'activate' | 'soft_cap', x: Tensor) {
  expectDType(op, 'x', x, 'f32');
  return { y: { dtype: 'f32', shape: x.shape } } as const;
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const elementwiseRules: Rules<
  'add' | 'mul' | 'add_bias' | 'scale' | 'activate' | 'gate' | 'soft_cap' | 'copy' | 'zeros_like' | 'accumulate'
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
  gate: { infer: ({ gate, up }) => sameAsFirst('gate', ['gate', gate], ['up', up]) },
  add_bias: {
    infer: ({ x, bias }) => {
      expectDType('add_bias', 'x', x, 'f32');
      expectDType('add_bias', 'bias', bias, 'f32');
      expectSameDimension('add_bias', { name: 'x', tensor: x, axis: -1 }, { name: 'bias', tensor: bias, axis: 0 });
      return { y: { dtype: 'f32', shape: x.shape } };
    },
  },
  scale: {
    infer: ({ x }) => sameAsX('scale', x),
    gradient: ({ attrs, upstream: { y } }) => ({ x: scale(y, attrs.factor) }),
  },
  activate: { infer: ({ x }) => sameAsX('activate', x) },
  soft_cap: { infer: ({ x }) => sameAsX('soft_cap', x) },
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
