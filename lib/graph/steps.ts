import { DTypeError, ShapeError } from '../errors.js';
import type { NamedValue } from '../plan/ir.js';
import { expectKnownKeys, unknownName } from '../runtime/option_errors.js';
import { formatShape, product, type Shape } from '../runtime/shape.js';

/** How the steps of a burst follow each other. */
export interface StepOptions {
  /** Results that become inputs of the next step of a burst. */
  feeds?: readonly { output: string; input: string }[];
  /** An i32 [1] output: a burst ends when it is 0. */
  while?: string;
}

/** Throws OptionError, DTypeError or ShapeError where feeds or the condition name nothing of the program or do not fit it. */
export function expectSteps(options: StepOptions, inputs: readonly NamedValue[], outputs: readonly NamedValue[]): void {
  options.feeds?.forEach((feed, i) => {
    const where = `feeds[${i}]`;
    expectKnownKeys(feed, ['output', 'input'], where);
    const from = find(outputs, feed.output, `${where}: the program`, 'output');
    const to = find(inputs, feed.input, `${where}: the program`, 'input');
    if (from.dtype !== to.dtype)
      throw new DTypeError(
        `${where}: output '${feed.output}' is ${from.dtype} but input '${feed.input}' is ${to.dtype}: expected one dtype`,
        {
          actual: from.dtype,
          expected: to.dtype,
        },
      );
    if (neverOfOneSize(from.shape, to.shape))
      throw new ShapeError(
        `${where}: output '${feed.output}' is ${formatShape(from.shape)} but input '${feed.input}' is ${formatShape(to.shape)}: expected equally many elements`,
        { actual: from.shape, expected: to.shape },
      );
  });
  if (options.while === undefined) return;
  const { dtype, shape } = find(outputs, options.while, 'while: the program', 'output');
  if (dtype !== 'i32')
    throw new DTypeError(`while: output '${options.while}' is ${dtype}: expected i32`, { actual: dtype, expected: 'i32' });
  if (shape.length !== 1 || typeof shape[0] !== 'number' || shape[0] < 1)
    throw new ShapeError(`while: output '${options.while}' is ${formatShape(shape)}: expected [1]`, { actual: shape, expected: [1] });
}

function find(list: readonly NamedValue[], name: string, where: string, kind: string): NamedValue['value'] {
  const found = list.find((port) => port.name === name);
  if (found !== undefined) return found.value;
  throw unknownName(
    where,
    kind,
    String(name),
    list.map((port) => port.name),
  );
}

// Symbolic sizes may turn out equal when a program runs; of one extent, different multiples do not.
function neverOfOneSize(a: Shape, b: Shape): boolean {
  const [left, right] = [product(a), product(b)];
  if (left === undefined || right === undefined) return false;
  if (typeof left === 'number' || typeof right === 'number') return typeof left === typeof right && left !== right;
  return left.extent === right.extent && left.coefficient !== right.coefficient;
}
