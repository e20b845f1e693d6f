import { ShapeError } from '../errors.js';
import { shownValue } from './shown_value.js';

/** `coefficient` times a symbolic extent: known when a program runs, bounded when it is compiled. */
export interface SymbolicDimension {
  readonly extent: string;
  readonly coefficient: number;
}

/** One dimension: a number, or a multiple of a symbolic extent. */
export type Dimension = number | SymbolicDimension;

/** Dimensions of a tensor, outermost first. At most four. */
export type Shape = readonly Dimension[];

/** How users write a dimension: a number, or the name of a symbolic extent. */
export type DimensionLike = Dimension | string;

const maxRank = 4;

/** Normalises what users write; throws ShapeError for negative or fractional sizes. */
export function toShape(dimensions: readonly DimensionLike[], what: string): Shape {
  if (!Array.isArray(dimensions))
    throw new ShapeError(`${what} has the shape ${shownValue(dimensions)}: expected an array of dimensions`, { actual: dimensions });
  if (dimensions.length > maxRank)
    throw new ShapeError(`${what} has ${dimensions.length} dimensions: at most ${maxRank} are supported`, { actual: dimensions });
  return dimensions.map((dimension) => {
    if (typeof dimension === 'string') return { extent: dimension, coefficient: 1 };
    const size = isSymbolic(dimension) ? dimension.coefficient : dimension;
    if (!Number.isSafeInteger(size) || size < 0)
      throw new ShapeError(`${what} has a dimension of ${shownValue(size)}: expected a whole number, 0 or more`, { actual: size });
    return dimension;
  });
}

const isSymbolic = (dimension: unknown): dimension is SymbolicDimension =>
  typeof (dimension as SymbolicDimension | null | undefined)?.extent === 'string';

/** `[2 tokens, 64]` */
export function formatShape(shape: Shape): string {
  return `[${shape.map(formatDimension).join(', ')}]`;
}

function formatDimension(dimension: Dimension): string {
  if (typeof dimension === 'number') return String(dimension);
  return dimension.coefficient === 1 ? dimension.extent : `${dimension.coefficient} ${dimension.extent}`;
}

/** Equal for every value of the extents. */
export function sameDimension(a: Dimension, b: Dimension): boolean {
  if (typeof a === 'number' || typeof b === 'number') return a === b;
  return a.extent === b.extent && a.coefficient === b.coefficient;
}

/** Equal for every value of the extents. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dimension, i) => sameDimension(dimension, b[i] as Dimension));
}

/** Whether a view of `shape` on a tensor of shape `base` takes some of its columns: as many rows, of another width. */
export function isColumns(shape: Shape, base: Shape): boolean {
  const [[rows, width], [baseRows, baseWidth]] = [shape, base] as [[Dimension, Dimension], [Dimension, Dimension]];
  return shape.length === 2 && base.length === 2 && sameDimension(rows, baseRows) && !sameDimension(width, baseWidth);
}

/** The product of dimensions, or undefined when it is no multiple of a single extent. */
export function product(shape: Shape): Dimension | undefined {
  let coefficient = 1;
  let extent: string | undefined;
  for (const dimension of shape) {
    if (typeof dimension === 'number') coefficient *= dimension;
    else if (extent !== undefined) return undefined;
    else {
      coefficient *= dimension.coefficient;
      extent = dimension.extent;
    }
  }
  return extent === undefined ? coefficient : { extent, coefficient };
}

/** The number of elements for given values of the extents. */
export function countElements(shape: Shape, extents: Readonly<Record<string, number>>): number {
  return shape.reduce<number>((count, dimension) => count * sizeOf(dimension, extents), 1);
}

/** One dimension's size for given values of the extents. */
export function sizeOf(dimension: Dimension, extents: Readonly<Record<string, number>>): number {
  if (typeof dimension === 'number') return dimension;
  const value = extents[dimension.extent];
  if (value === undefined) throw new ShapeError(`the extent '${dimension.extent}' has no value`, { extent: dimension.extent });
  return value * dimension.coefficient;
}
