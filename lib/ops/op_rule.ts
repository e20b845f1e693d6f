import { DTypeError, OptionError, ShapeError } from '../errors.js';
import { type OpName, opTable } from '../generated/op_table.js';
import type { Graph, TensorType } from '../graph/graph.js';
import { Tensor } from '../graph/tensor.js';
import type { DType } from '../runtime/dtype.js';
import { expectKnownKeys } from '../runtime/option_errors.js';
import { type Dimension, formatShape, type Shape, sameDimension, sameShape, toShape } from '../runtime/shape.js';
import { shownValue } from '../runtime/shown_value.js';
import { didYouMean } from '../runtime/suggest.js';

type Table = typeof opTable;
type Optional<O extends OpName> = Table[O]['optional'][number];
type AttributeType<A> = A extends readonly (infer Choice)[] ? Choice : A extends 'bool' ? boolean : number;

/** Operands of an op by name, as declared in its .ops.json. */
export type Inputs<O extends OpName> = { readonly [K in Exclude<Table[O]['inputs'][number], Optional<O>>]: Tensor } & {
  readonly [K in Optional<O>]?: Tensor | undefined;
};
/** Attributes of an op by name. */
export type Attrs<O extends OpName> = { readonly [K in keyof Table[O]['attrs']]: AttributeType<Table[O]['attrs'][K]> };
/** Types of an op's outputs by name. */
export type OutputTypes<O extends OpName> = { readonly [K in Table[O]['outputs'][number]]: TensorType };

type OutputName<O extends OpName> = Table[O]['outputs'][number];

/** One call of an op on the way from the loss back to the parameters. */
export interface GradientCall<O extends OpName> {
  readonly inputs: Inputs<O>;
  readonly outputs: { readonly [K in OutputName<O>]: Tensor };
  readonly attrs: Attrs<O>;
  /** Gradient of the loss with respect to each output: zeros where nothing depends on one of several outputs. */
  readonly upstream: { readonly [K in OutputName<O>]: Tensor };
  /** Outputs that the loss depends on. */
  has(output: OutputName<O>): boolean;
  /** Whether the gradient with respect to an input is needed. */
  wants(input: Table[O]['inputs'][number]): boolean;
  /** True where the result must have a gradient itself: only ops that have rules may be used. */
  readonly differentiable: boolean;
}

/** Gradients with respect to inputs; what is left out is zero. A function gets the sum of all other contributions and adds its own. */
export type InputGradients<O extends OpName> = {
  readonly [K in Table[O]['inputs'][number]]?: Tensor | ((sum: Tensor) => Tensor) | undefined;
};

/** What TypeScript knows of an op: its result from its operands, with errors where the user made them, and its gradient. */
export interface OpRule<O extends OpName> {
  infer(inputs: Inputs<O>, attrs: Attrs<O>): OutputTypes<O>;
  /** Written with ops, so that gradients are ordinary graphs. Left out: the op has none. */
  gradient?(call: GradientCall<O>): InputGradients<O>;
}

/** Rules of a family of ops. */
export type Rules<Names extends OpName> = { readonly [O in Names]: OpRule<O> };

/** Checks the operands by the op's rule and adds the call to their graph. */
export function apply<O extends OpName>(
  op: O,
  rule: OpRule<O>,
  inputs: Inputs<O>,
  attrs: Attrs<O>,
): { readonly [K in keyof OutputTypes<O>]: Tensor } {
  expectOperands(op, inputs);
  expectAttributes(op, attrs);
  const outputs: Readonly<Record<string, TensorType>> = rule.infer(inputs, attrs);
  // A size that the caller gave, such as the outputs of `linear`, may be none.
  for (const [name, { shape }] of Object.entries(outputs)) toShape(shape, `[${op}] ${name}`);
  const first = Object.values<Tensor | undefined>(inputs).find((t) => t !== undefined) as Tensor;
  const graph = first.graph as Graph;
  return graph.call(op, inputs, attrs as Record<string, number | boolean | string>, outputs) as {
    readonly [K in keyof OutputTypes<O>]: Tensor;
  };
}

// JavaScript has no compiler that knows operands and attributes: what TypeScript would refuse is refused here.
function expectOperands(op: OpName, operands: Readonly<Record<string, unknown>>): void {
  const { inputs, optional } = opTable[op] as { inputs: readonly string[]; optional: readonly string[] };
  expectKnownKeys(operands, inputs, `[${op}]`, 'operand');
  for (const name of inputs) if (operands[name] !== undefined || !optional.includes(name)) expectTensor(op, name, operands[name]);
}

/** Throws OptionError unless `value` is a tensor of a graph. */
export function expectTensor(op: OpName, name: string, value: unknown): asserts value is Tensor {
  if (value instanceof Tensor) return;
  throw new OptionError(`[${op}] ${name} is ${shownValue(value)}: expected a tensor of a graph`, { op, operand: name, actual: value });
}

function expectAttributes(op: OpName, attrs: Readonly<Record<string, unknown>>): void {
  const types: Readonly<Record<string, AttributeKind>> = opTable[op].attrs;
  expectKnownKeys(attrs, Object.keys(types), `[${op}]`);
  for (const [name, type] of Object.entries(types)) {
    const actual = attrs[name];
    if (typeof type === 'string' && attributeKinds[type].fits(actual)) continue;
    if (typeof type !== 'string' && type.includes(actual as string)) continue;
    const expected = typeof type === 'string' ? attributeKinds[type].expected : type;
    const message =
      typeof type === 'string'
        ? `[${op}] ${name} is ${shownValue(actual)}: expected ${expected}`
        : `[${op}] ${name} is '${actual}': expected ${type.join(', ')}.${didYouMean(String(actual), type)}`;
    throw new OptionError(message, { op, option: name, actual, expected });
  }
}

type AttributeKind = keyof typeof attributeKinds | readonly string[];

const attributeKinds = {
  f32: { expected: 'a number', fits: (value: unknown) => typeof value === 'number' },
  i32: { expected: 'a whole number of 32 bits', fits: (value: unknown) => Number.isSafeInteger(value) && value === Number(value) >> 0 },
  i64: { expected: 'a whole number', fits: (value: unknown) => Number.isSafeInteger(value) },
  bool: { expected: 'true or false', fits: (value: unknown) => typeof value === 'boolean' },
} as const;

/**
 * What a user gave as the options of an op, with `defaults` where they are left out; undefined: there is none. Throws OptionError for a
 * name that is not among them.
 */
export function optionsOf<T extends object, const D extends Defaults<T>>(op: OpName, given: T, defaults: D): Chosen<T, D> {
  expectKnownKeys(given, Object.keys(defaults), `[${op}]`);
  const chosen: Record<string, unknown> = { ...defaults };
  for (const [name, value] of Object.entries(given ?? {})) if (value !== undefined) chosen[name] = value;
  return chosen as Chosen<T, D>;
}

type Defaults<T> = { readonly [K in keyof Required<T>]: T[K] | undefined };
type Chosen<T, D extends Defaults<T>> = {
  readonly [K in keyof Required<T>]: undefined extends D[K] ? T[K] : Exclude<T[K], undefined>;
};

/** Throws DTypeError unless `tensor` has one of `dtypes`. */
export function expectDType(op: OpName, name: string, tensor: Tensor | undefined, ...dtypes: DType[]): void {
  if (tensor === undefined || dtypes.includes(tensor.dtype)) return;
  throw new DTypeError(`[${op}] ${name} is ${tensor.dtype}: expected ${dtypes.join(' or ')}`, {
    op,
    operand: name,
    actual: tensor.dtype,
    expected: dtypes,
  });
}

/** Throws ShapeError unless `tensor` has `rank` dimensions. */
export function expectRank(op: OpName, name: string, tensor: Tensor, ...ranks: number[]): void {
  if (ranks.includes(tensor.shape.length)) return;
  throw new ShapeError(
    `[${op}] ${name} is ${formatShape(tensor.shape)}: expected ${ranks.join(' or ')} dimension${ranks.length === 1 && ranks[0] === 1 ? '' : 's'}`,
    {
      op,
      operand: name,
      actual: tensor.shape,
    },
  );
}

/** Throws ShapeError unless `tensor` has exactly this shape. */
export function expectShape(op: OpName, name: string, tensor: Tensor | undefined, shape: Shape, because: string): void {
  if (tensor === undefined || sameShape(tensor.shape, shape)) return;
  throw new ShapeError(`[${op}] ${name} is ${formatShape(tensor.shape)}: expected ${formatShape(shape)}, ${because}`, {
    op,
    operand: name,
    actual: tensor.shape,
    expected: shape,
  });
}

/** Throws ShapeError unless two dimensions agree; the message gives both tensors. */
export function expectSameDimension(
  op: OpName,
  a: { name: string; tensor: Tensor; axis: number },
  b: { name: string; tensor: Tensor; axis: number },
): void {
  const left = a.tensor.shape.at(a.axis) as Dimension;
  const right = b.tensor.shape.at(b.axis) as Dimension;
  if (left !== undefined && right !== undefined && sameDimension(left, right)) return;
  throw new ShapeError(
    `[${op}] ${a.name} is ${formatShape(a.tensor.shape)} but ${b.name} is ${formatShape(b.tensor.shape)}: expected ${b.name}.shape[${b.axis}] = ${formatShape([left]).slice(1, -1)}`,
    { op, actual: right, expected: left },
  );
}

/** The size of a dimension that must be a plain number. */
export function fixed(op: OpName, name: string, tensor: Tensor, axis: number): number {
  const size = tensor.shape.at(axis);
  if (typeof size === 'number') return size;
  throw new ShapeError(`[${op}] ${name} is ${formatShape(tensor.shape)}: dimension ${axis} must be a number, not a symbolic extent`, {
    op,
    operand: name,
  });
}
