import { AdapterError } from '../errors.js';
import type { SiteRequest } from './method.js';

const list = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** Throws AdapterError with the tensor, both shapes and the base's name unless the shapes are equal. */
export function expectTensorShape(
  tensor: { name: string; shape: readonly number[] },
  expected: readonly number[],
  { adapter, base, site }: Pick<SiteRequest, 'adapter' | 'base' | 'site'>,
): void {
  const { name, shape } = tensor;
  if (shape.length === expected.length && shape.every((size, i) => size === expected[i])) return;
  throw new AdapterError(`${adapter} does not fit ${base}: ${name} is ${list(shape)}, expected ${list(expected)} for ${site.path}`, {
    tensor: name,
    actual: [...shape],
    expected: [...expected],
    base,
  });
}

/** Throws AdapterError unless the tensor has at least these sizes: a matrix that modules share is as large as the largest of them. */
export function expectAtLeast(
  { name, shape }: { name: string; shape: readonly number[] },
  least: readonly number[],
  { adapter, base, site }: Pick<SiteRequest, 'adapter' | 'base' | 'site'>,
): void {
  if (shape.length === least.length && shape.every((size, i) => size >= (least[i] as number))) return;
  throw new AdapterError(`${adapter} does not fit ${base}: ${name} is ${list(shape)}, expected at least ${list(least)} for ${site.path}`, {
    tensor: name,
    actual: [...shape],
    expected: [...least],
    base,
  });
}
