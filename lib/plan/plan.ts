import { setImmediate as nextTurn } from 'node:timers/promises';
import { DeviceError, fromNative } from '../errors.js';
import { binding } from '../runtime/binding.js';
import { cpu, type Device, sameDevice } from '../runtime/device.js';
import { Program } from '../runtime/program.js';
import { encode } from './encode.js';
import { fuse } from './fuse.js';
import { placeInPlace } from './in_place.js';
import { type LogicalProgram, type NamedValue, place } from './ir.js';
import { layOutArena } from './memory.js';

// Fuses, shares memory, encodes, and has the native side verify the result; each pass ends with a yield.
function* passes(program: LogicalProgram, given: Device | undefined): Generator<void, Program, void> {
  const device = deviceOf(program, given);
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
    const native = new (binding().Program)(bytes, buffers, device.ordinal);
    return new Program(native, { inputs: ports(program.inputs), outputs: ports(program.outputs), extents: program.extents }, device);
  } catch (error) {
    throw fromNative(error, { device: device.name });
  }
}

// That of the memory it is bound to, which must all be on one.
function deviceOf(program: LogicalProgram, given: Device | undefined): Device {
  let found = given;
  for (const { op, inputs, outputs } of program.nodes)
    for (const value of [...inputs, ...outputs]) {
      const bound = value && place(value).owner.bound;
      if (bound === undefined) continue;
      found ??= bound.device;
      if (!sameDevice(found, bound.device))
        throw new DeviceError(
          `[${op}] uses memory of ${bound.device.name} in a program ${given === undefined ? 'that uses memory of' : 'for'} ${found.name}: ` +
            'a program and all its tensors are on one device',
          { op, expected: found.name, actual: bound.device.name },
        );
    }
  return found ?? cpu;
}

/** Bytes of the arena that a program needs; the program is used up. */
export function arenaBytes(program: LogicalProgram): number {
  fuse(program);
  placeInPlace(program);
  return layOutArena(program).bytes;
}

/** Plans a program in one go. It runs where the memory that it is bound to lies; `device` says where without any. Throws DeviceError where they differ. */
export function compilePlan(program: LogicalProgram, device?: Device): Program {
  const run = passes(program, device);
  for (;;) {
    const step = run.next();
    if (step.done) return step.value;
  }
}

/** The same with a turn of the event loop after every pass: large models take tens of milliseconds in all. */
export async function compilePlanInTurns(program: LogicalProgram, device?: Device): Promise<Program> {
  const run = passes(program, device);
  for (;;) {
    const step = run.next();
    if (step.done) return step.value;
    await nextTurn();
  }
}
