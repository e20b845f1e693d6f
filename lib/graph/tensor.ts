import { ShapeError } from '../errors.js';
import type { OpName } from '../generated/op_table.js';
import type { DeviceTensor } from '../runtime/device_tensor.js';
import type { DType } from '../runtime/dtype.js';
import { type Dimension, formatShape, isColumns, product, type Shape, sameDimension, toShape } from '../runtime/shape.js';

/** A call of an op: what a node of the graph is. */
export interface OpCall {
  readonly op: OpName;
  readonly inputs: Readonly<Record<string, Tensor | undefined>>;
  readonly attrs: Readonly<Record<string, number | boolean | string>>;
  readonly outputs: Record<string, Tensor>;
  /** Part of the graph that `gradient` may compute again instead of keeping its results. */
  readonly segment?: number | undefined;
}

/** Where a tensor comes from. */
export type Source =
  | { readonly kind: 'input'; readonly name: string }
  | { readonly kind: 'weight' | 'state' | 'parameter'; readonly name: string; readonly tensor: DeviceTensor }
  | { readonly kind: 'op'; readonly call: OpCall; readonly output: string }
  | { readonly kind: 'view'; readonly base: Tensor; readonly firstColumn: number; readonly detached?: boolean };

/** A value of a graph: immutable, without data until a program runs. */
export class Tensor {
  constructor(
    /** The graph it belongs to; tensors of two graphs do not mix. */
    readonly graph: object,
    /** Position in order of creation: inputs of an op are always older than its outputs. */
    readonly id: number,
    /** Type of its elements. */
    readonly dtype: DType,
    /** Dimensions, outermost first; symbolic ones are known when a program runs. */
    readonly shape: Shape,
    /** What it is computed from. */
    readonly source: Source,
    private readonly nextId: () => number,
  ) {}

  /** Same elements in another shape. The leading dimension of a column slice must stay. */
  reshape(dimensions: readonly (Dimension | string)[]): Tensor {
    const shape = toShape(dimensions, 'reshape');
    const before = product(this.shape);
    const after = product(shape);
    if (before === undefined || after === undefined || !sameDimension(before, after))
      throw new ShapeError(`[reshape] x is ${formatShape(this.shape)}: cannot be seen as ${formatShape(shape)}`, {
        actual: this.shape,
        expected: shape,
      });
    if (this.strided && !sameDimension(this.shape[0] as Dimension, shape[0] as Dimension))
      throw new ShapeError(
        `[reshape] x is a slice of columns ${formatShape(this.shape)}: its first dimension must stay, got ${formatShape(shape)}`,
      );
    // A matrix seen as a matrix of fewer columns would pass for a slice of its columns.
    const [rows, columns] = this.shape;
    if (this.shape.length === 2 && shape.length === 2 && !sameDimension(columns as Dimension, shape[1] as Dimension))
      return this.reshape([rows as Dimension, columns as Dimension, 1]).reshape(shape);
    return new Tensor(this.graph, this.nextId(), this.dtype, shape, { kind: 'view', base: this, firstColumn: 0 }, this.nextId);
  }

  /** Columns `from` up to, not including, `to` of a [rows, columns] tensor, without a copy. */
  columns(from: number, to: number): Tensor {
    const width = this.shape[1];
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(to);
    if (!whole || this.shape.length !== 2 || typeof width !== 'number' || from < 0 || to > width || from > to)
      throw new ShapeError(`[columns] x is ${formatShape(this.shape)}: cannot take columns ${from} to ${to}`, { actual: this.shape });
    const shape = [this.shape[0] as Dimension, to - from];
    return new Tensor(this.graph, this.nextId(), this.dtype, shape, { kind: 'view', base: this, firstColumn: from }, this.nextId);
  }

  /** This view, of another tensor of the same type as its base. */
  viewOf(base: Tensor): Tensor {
    if (this.source.kind !== 'view') return base;
    return new Tensor(this.graph, this.nextId(), this.dtype, this.shape, { ...this.source, base }, this.nextId);
  }

  /** The same value, a constant for `gradient`. */
  detach(): Tensor {
    const source = { kind: 'view', base: this, firstColumn: 0, detached: true } as const;
    return new Tensor(this.graph, this.nextId(), this.dtype, this.shape, source, this.nextId);
  }

  /** True when rows do not follow each other directly in memory. */
  get strided(): boolean {
    if (this.source.kind !== 'view') return false;
    const { base } = this.source;
    return base.strided || isColumns(this.shape, base.shape);
  }
}
