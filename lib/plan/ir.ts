import { type OpName, opTable } from '../generated/op_table.js';
import type { DeviceTensor } from '../runtime/device_tensor.js';
import { type DType, dtypeBytes } from '../runtime/dtype.js';
import { isColumns, type Shape, sizeOf } from '../runtime/shape.js';

/** A value of a plan: a tensor with memory of its own, or a view of another value. */
export interface Value {
  readonly dtype: DType;
  readonly shape: Shape;
  /** Native memory outside the arena. */
  readonly bound?: DeviceTensor;
  /** Bound memory that no op may change. */
  readonly frozen?: boolean;
  /** Set when this value lies inside another: a slice of columns, a reshape, or the result of an op that works in place. */
  viewOf?: Value;
  /** Columns (elements of a row) before this view's first one. */
  readonly firstColumn: number;
  /** Inputs and outputs keep their memory for the whole program. */
  pinned: boolean;
}

/** A call of an op in order of execution. Operands in the order of the op table. */
export interface PlanNode {
  op: OpName;
  inputs: (Value | undefined)[];
  outputs: Value[];
  attrs: Readonly<Record<string, number | boolean | string>>;
}

/** Results that an op writes over operands, each with the position of its operand among the inputs. */
export function resultsInPlace(node: PlanNode): { result: Value | undefined; input: number }[] {
  const { inputs, outputs, alias } = opTable[node.op] as {
    inputs: readonly string[];
    outputs: readonly string[];
    alias: Readonly<Record<string, string>>;
  };
  return Object.entries(alias).map(([output, input]) => ({ result: node.outputs[outputs.indexOf(output)], input: inputs.indexOf(input) }));
}

/** A named value at the border of a program. */
export interface NamedValue {
  readonly name: string;
  readonly value: Value;
}

/** What the graph hands to the planner: nodes in a valid order, dead ones left out. */
export interface LogicalProgram {
  nodes: PlanNode[];
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  /** Largest value of each symbolic extent. */
  readonly extents: ReadonlyMap<string, number>;
  /** Output → input of the next step of a burst. */
  readonly feeds: readonly { output: string; input: string }[];
  /** An i32 output: a burst ends when it is 0. */
  readonly while?: string | undefined;
}

/** A new value with memory of its own. */
export function newValue(dtype: DType, shape: Shape): Value {
  return { dtype, shape, firstColumn: 0, pinned: false };
}

/** Where a value lies: the value that owns the memory, the byte of its first element, and the elements between rows. */
export interface Place {
  readonly owner: Value;
  readonly byteOffset: number;
  /** 0: dense. */
  readonly leadingStride: number;
}

const innerElements = (shape: Shape): number => shape.slice(1).reduce<number>((n, d) => n * (typeof d === 'number' ? d : Number.NaN), 1);

/** Follows views down to the owner of the memory. */
export function place(value: Value): Place {
  if (value.viewOf === undefined) return { owner: value, byteOffset: 0, leadingStride: 0 };
  const base = place(value.viewOf);
  // A slice of no rows stays within its empty buffer.
  const byteOffset = base.byteOffset + (value.shape[0] === 0 ? 0 : value.firstColumn * dtypeBytes[value.dtype]);
  const baseInner = innerElements(value.viewOf.shape);
  const sliced = base.leadingStride === 0 && isColumns(value.shape, value.viewOf.shape);
  return { owner: base.owner, byteOffset, leadingStride: sliced ? baseInner : base.leadingStride };
}

/** Bytes of a value at the largest extents. */
export function maxBytes(value: Value, extents: ReadonlyMap<string, number>): number {
  const sizes = Object.fromEntries(extents);
  return value.shape.reduce<number>((n, d) => n * sizeOf(d, sizes), 1) * dtypeBytes[value.dtype];
}

/** Whether two values can share a byte. Slices of the same rows are told apart by their columns; all else is assumed to overlap. */
export function overlap(a: Value, b: Value): boolean {
  const left = place(a);
  const right = place(b);
  if (left.owner !== right.owner) return false;
  const row = (p: Place, v: Value) => (p.leadingStride === 0 ? innerElements(v.shape) : p.leadingStride);
  const stride = row(left, a);
  if (a.dtype !== b.dtype || Number.isNaN(stride) || stride !== row(right, b)) return true;
  const width = dtypeBytes[a.dtype];
  const first = left.byteOffset / width;
  const second = right.byteOffset / width;
  return first < second + innerElements(b.shape) && second < first + innerElements(a.shape);
}
