import { OptionError, ShapeError } from '../errors.js';
import type { OpName } from '../generated/op_table.js';
import type { DeviceTensor } from '../runtime/device_tensor.js';
import { type DType, expectKnownDType } from '../runtime/dtype.js';
import { type DimensionLike, formatShape, type Shape, toShape } from '../runtime/shape.js';
import { shownValue } from '../runtime/shown_value.js';
import { type OpCall, Tensor } from './tensor.js';

/** Type of an op's output before it becomes a tensor. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A computation under construction. Nodes are immutable; nothing runs until a program is compiled from it. */
export class Graph {
  private count = 0;
  private readonly names = new Set<string>();
  private currentSegment: number | undefined;
  private readonly next = (): number => this.count++;

  /** A value given at each run. A string in `shape` names a symbolic extent. Throws OptionError for a name that is taken, DTypeError, ShapeError for a bad size. */
  input(name: string, dtype: DType, shape: readonly DimensionLike[]): Tensor {
    expectKnownDType(dtype, `input '${name}'`);
    const known = toShape(shape, `input '${name}'`);
    this.claim(name);
    return new Tensor(this, this.next(), dtype, known, { kind: 'input', name }, this.next);
  }

  /** A frozen weight in native memory. No gradient is ever built for it. */
  weight(name: string, tensor: DeviceTensor): Tensor {
    return this.bound('weight', name, tensor);
  }

  /** Trainable memory: ops may change it, and gradients with respect to it can be built. */
  parameter(name: string, tensor: DeviceTensor): Tensor {
    return this.bound('parameter', name, tensor);
  }

  /** Native memory that ops may change and that lives on between runs, such as a page pool. */
  state(name: string, tensor: DeviceTensor): Tensor {
    return this.bound('state', name, tensor);
  }

  /** Adds a call of `op`; used by lib/ops, which has checked the shapes. */
  call<const Names extends string>(
    op: OpName,
    inputs: Readonly<Record<string, Tensor | undefined>>,
    attrs: Readonly<Record<string, number | boolean | string>>,
    outputs: Record<Names, TensorType>,
  ): Record<Names, Tensor> {
    for (const [name, tensor] of Object.entries(inputs))
      if (tensor !== undefined && tensor.graph !== this) throw new ShapeError(`[${op}] ${name} belongs to another graph`, { op });
    const call: OpCall = { op, inputs, attrs, outputs: {}, segment: this.currentSegment };
    for (const [name, type] of Object.entries<TensorType>(outputs))
      call.outputs[name] = new Tensor(this, this.next(), type.dtype, type.shape, { kind: 'op', call, output: name }, this.next);
    return call.outputs as Record<Names, Tensor>;
  }

  /** Ops that `build` adds belong to segment `number`: `gradient` can compute them again instead of keeping their results. */
  segment<T>(number: number, build: () => T): T {
    const outer = this.currentSegment;
    this.currentSegment = number;
    try {
      return build();
    } finally {
      this.currentSegment = outer;
    }
  }

  private bound(kind: 'weight' | 'state' | 'parameter', name: string, tensor: DeviceTensor): Tensor {
    if (!Array.isArray(tensor?.dims))
      throw new OptionError(`${kind} '${name}' is ${shownValue(tensor)}: expected a tensor in native memory, as tensor() makes`, {
        name,
        actual: tensor,
      });
    const shape = toShape(tensor.dims, `${kind} '${name}'`);
    if (shape.length === 0) throw new ShapeError(`${kind} '${name}' is ${formatShape(shape)}: expected at least one dimension`);
    this.claim(name);
    return new Tensor(this, this.next(), tensor.dtype, shape, { kind, name, tensor }, this.next);
  }

  private claim(name: string): void {
    if (this.names.has(name)) throw new OptionError(`the graph already has something named '${name}'`, { name });
    this.names.add(name);
  }
}

/** A new, empty graph. */
export function graph(): Graph {
  return new Graph();
}
