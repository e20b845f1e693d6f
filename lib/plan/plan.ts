import { fromNative } from '../errors.js';
import { binding } from '../runtime/binding.js';
import { Program } from '../runtime/program.js';
import { encode } from './encode.js';
import { fuse } from './fuse.js';
import { placeInPlace } from './in_place.js';
import type { LogicalProgram, NamedValue } from './ir.js';
import { layOutArena } from './memory.js';

/** Fuses, shares memory, encodes, and has the native side verify the result. */
export function compilePlan(program: LogicalProgram): Program {
  fuse(program);
  placeInPlace(program);
  const layout = layOutArena(program);
  const { bytes, buffers } = encode(program, layout);
  const ports = (list: readonly NamedValue[]) => list.map(({ name, value }) => ({ name, dtype: value.dtype, shape: value.shape }));
  try {
    const native = new (binding().Program)(bytes, buffers);
    return new Program(native, { inputs: ports(program.inputs), outputs: ports(program.outputs), extents: program.extents });
  } catch (error) {
    throw fromNative(error);
  }
}
