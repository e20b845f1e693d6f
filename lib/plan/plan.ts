import { setImmediate as nextTurn } from 'node:timers/promises';
import { fromNative } from '../errors.js';
import { binding } from '../runtime/binding.js';
import { Program } from '../runtime/program.js';
import { encode } from './encode.js';
import { fuse } from './fuse.js';
import { placeInPlace } from './in_place.js';
import type { LogicalProgram, NamedValue } from './ir.js';
import { layOutArena } from './memory.js';

// Fuses, shares memory, encodes, and has the native side verify the result; each pass ends with a yield.
function* passes(program: LogicalProgram): Generator<void, Program, void> {
  fuse(program);
  yield;
  placeInPlace(program);
  yield;
  const layout = layOutArena(program);
  yield;
  const { bytes, buffers } = encode(program, layout);
  yield;
  const ports = (list: readonly NamedValue[]) => list.map(({ name, value }) => ({ name, dtype: value.dtype, shape: value.shape }));
  try {
    const native = new (binding().Program)(bytes, buffers);
    return new Program(native, { inputs: ports(program.inputs), outputs: ports(program.outputs), extents: program.extents });
  } catch (error) {
    throw fromNative(error);
  }
}

/** Bytes of the arena that a program needs; the program is used up. */
export function arenaBytes(program: LogicalProgram): number {
  fuse(program);
  placeInPlace(program);
  return layOutArena(program).bytes;
}

/** Plans a program in one go. */
export function compilePlan(program: LogicalProgram): Program {
  const run = passes(program);
  for (;;) {
    const step = run.next();
    if (step.done) return step.value;
  }
}

/** The same with a turn of the event loop after every pass: large models take tens of milliseconds in all. */
export async function compilePlanInTurns(program: LogicalProgram): Promise<Program> {
  const run = passes(program);
  for (;;) {
    const step = run.next();
    if (step.done) return step.value;
    await nextTurn();
  }
}
