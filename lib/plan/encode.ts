import { InternalError } from '../errors.js';
import { opTable, opTableHash } from '../generated/op_table.js';
import type { NativeBuffer } from '../runtime/binding.js';
import { dtypeCode } from '../runtime/dtype.js';
import type { Slices } from '../runtime/slices.js';
import { type LogicalProgram, type NamedValue, place, type Value } from './ir.js';
import type { ArenaLayout } from './memory.js';

const noTensor = 0xffffffff;
const magic = 0x31444c48;

class Writer {
  private bytes = new ArrayBuffer(1 << 16);
  private view = new DataView(this.bytes);
  private length = 0;

  private room(bytes: number): number {
    while (this.length + bytes > this.bytes.byteLength) {
      const larger = new ArrayBuffer(this.bytes.byteLength * 2);
      new Uint8Array(larger).set(new Uint8Array(this.bytes));
      this.bytes = larger;
      this.view = new DataView(larger);
    }
    const at = this.length;
    this.length += bytes;
    return at;
  }

  // Room first: growing replaces the view.
  private put(bytes: number, write: (view: DataView, at: number) => void): void {
    const at = this.room(bytes);
    write(this.view, at);
  }

  u8 = (value: number): void => this.put(1, (view, at) => view.setUint8(at, value));
  u16 = (value: number): void => this.put(2, (view, at) => view.setUint16(at, value, true));
  u32 = (value: number): void => this.put(4, (view, at) => view.setUint32(at, value, true));
  i32 = (value: number): void => this.put(4, (view, at) => view.setInt32(at, value, true));
  i64 = (value: number): void => this.put(8, (view, at) => view.setBigInt64(at, BigInt(value), true));
  f64 = (value: number): void => this.put(8, (view, at) => view.setFloat64(at, value, true));

  finish(): Uint8Array {
    return new Uint8Array(this.bytes, 0, this.length);
  }
}

/** The encoded program and the buffers it is bound to. The reader is native/executor/decode.cc. */
export function* encode(program: LogicalProgram, layout: ArenaLayout): Slices<{ bytes: Uint8Array; buffers: NativeBuffer[] }> {
  const extentNumbers = new Map([...program.extents.keys()].map((name, i) => [name, i]));
  const buffers = new Set<NativeBuffer>();
  const values = new Map<Value, number>();
  const number = (value: Value): number => {
    let index = values.get(value);
    if (index === undefined) {
      index = values.size;
      values.set(value, index);
    }
    return index;
  };
  for (const node of program.nodes) for (const value of [...node.inputs, ...node.outputs]) if (value !== undefined) number(value);
  for (const { value } of [...program.inputs, ...program.outputs]) number(value);
  for (const value of values.keys()) {
    const bound = place(value).owner.bound;
    if (bound !== undefined) buffers.add(bound.buffer);
    yield;
  }

  const bufferNumbers = new Map([...buffers].map((buffer, i) => [buffer, i]));
  const writer = new Writer();
  writer.u32(magic);
  for (const character of opTableHash) writer.u8(character.charCodeAt(0));
  writer.u32(program.extents.size);
  for (const max of program.extents.values()) writer.i64(max);
  writer.i64(layout.bytes);
  writer.u32(buffers.size);
  writer.u32(values.size);
  for (const value of values.keys()) {
    writeTensor(writer, value, layout, bufferNumbers, extentNumbers);
    yield;
  }
  writer.u32(program.nodes.length);
  for (const node of program.nodes) {
    const info = opTable[node.op];
    writer.u16(info.id);
    writer.u16(node.inputs.length + node.outputs.length);
    for (const value of [...node.inputs, ...node.outputs]) writer.u32(value === undefined ? noTensor : number(value));
    for (const [name, type] of Object.entries<unknown>(info.attrs)) writeAttribute(writer, node.attrs[name], type, `${node.op}.${name}`);
    yield;
  }
  const ports = (list: readonly NamedValue[]): void => {
    writer.u32(list.length);
    for (const { value } of list) writer.u32(number(value));
  };
  ports(program.inputs);
  ports(program.outputs);
  const find = (list: readonly NamedValue[], name: string): number => {
    const index = list.findIndex((port) => port.name === name);
    if (index < 0) throw new InternalError(`a feed names '${name}', which the program does not have`);
    return index;
  };
  writer.u32(program.feeds.length);
  for (const feed of program.feeds) {
    writer.u32(find(program.outputs, feed.output));
    writer.u32(find(program.inputs, feed.input));
  }
  writer.u32(program.while === undefined ? noTensor : find(program.outputs, program.while));
  return { bytes: writer.finish(), buffers: [...buffers] };
}

function writeTensor(
  writer: Writer,
  value: Value,
  layout: ArenaLayout,
  buffers: ReadonlyMap<NativeBuffer, number>,
  extents: ReadonlyMap<string, number>,
): void {
  const { owner, byteOffset, leadingStride } = place(value);
  const { bound } = owner;
  writer.u32(bound === undefined ? 0 : (buffers.get(bound.buffer) as number) + 1);
  writer.i64((bound === undefined ? (layout.offsets.get(owner) as number) : bound.offset) + byteOffset);
  writer.u8(dtypeCode[value.dtype]);
  writer.u8(value.shape.length);
  for (let i = 0; i < 4; i++) {
    const dimension = value.shape[i] ?? 0;
    writer.i32(typeof dimension === 'number' ? -1 : (extents.get(dimension.extent) as number));
    writer.i64(typeof dimension === 'number' ? dimension : dimension.coefficient);
  }
  writer.i64(leadingStride);
}

function writeAttribute(writer: Writer, value: number | boolean | string | undefined, type: unknown, name: string): void {
  if (Array.isArray(type)) {
    const index = type.indexOf(value);
    if (index < 0) throw new InternalError(`[${name}] is ${String(value)}: expected ${type.join(', ')}`);
    writer.i64(index);
  } else if (type === 'f32') {
    if (typeof value !== 'number') throw new InternalError(`[${name}] is ${String(value)}: expected a number`);
    writer.f64(value);
  } else {
    if (value === undefined || (typeof value === 'number' && !Number.isSafeInteger(value)))
      throw new InternalError(`[${name}] is ${String(value)}: expected a whole number`);
    writer.i64(Number(value));
  }
}
