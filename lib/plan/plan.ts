import { DeviceError, fromNative } from '../errors.js';
import { binding } from '../runtime/binding.js';
import { cpu, type Device, sameDevice } from '../runtime/device.js';
import { Program } from '../runtime/program.js';
import { atOnce, type Slices } from '../runtime/slices.js';
import { encode } from './encode.js';
import { fuse } from './fuse.js';
import { placeInPlace } from './in_place.js';
import { type LogicalProgram, type NamedValue, place } from './ir.js';
import { layOutArena } from './memory.js';

/**
 * Plans a program: fuses, shares memory, encodes, and has the native side verify the result. It runs where the memory that it is bound to
 * lies; `given` says where without any. Throws DeviceError where they differ. Large models take tens of milliseconds in all.
 */
export function* planInSlices(program: LogicalProgram, given?: Device): Slices<Program> {
  const device = yield* deviceOf(program, given);
  yield* fuse(program);
  yield* placeInPlace(program);
  const layout = yield* layOutArena(program);
  const { bytes, buffers } = yield* encode(program, layout);
  const ports = (list: readonly NamedValue[]) => list.map(({ name, value }) => ({ name, dtype: value.dtype, shape: value.shape }));
  try {
    const native = new (binding().Program)(bytes, buffers, device.ordinal);
    return new Program(native, { inputs: ports(program.inputs), outputs: ports(program.outputs), extents: program.extents }, device);
  } catch (error) {
    throw fromNative(error, { device: device.name });
  }
}

// That of the memory it is bound to, which must all be on one.
function* deviceOf(program: LogicalProgram, given: Device | undefined): Slices<Device> {
  let found = given;
  for (const { op, inputs, outputs } of program.nodes) {
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
    yield;
  }
  return found ?? cpu;
}

/** The same in one go. */
export const compilePlan = (program: LogicalProgram, device?: Device): Program => atOnce(planInSlices(program, device));

/** Bytes of the arena that a program needs; the program is used up. */
export function arenaBytes(program: LogicalProgram): number {
  atOnce(fuse(program));
  atOnce(placeInPlace(program));
  return atOnce(layOutArena(program)).bytes;
}
