// Writes GGUF version 3: header, metadata, tensor table, then the tensors at multiples of 32 bytes.
import fs from 'node:fs';

const alignment = 32;
const valueTypes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };
export const tensorTypes = { f32: { code: 0, bytes: 4 }, bf16: { code: 30, bytes: 2 } };

class ByteSink {
  #chunks = [];
  length = 0;
  #push(size, write) {
    const chunk = Buffer.alloc(size);
    write(chunk);
    this.raw(chunk);
  }
  raw(chunk) {
    this.#chunks.push(chunk);
    this.length += chunk.length;
  }
  u32(x) {
    this.#push(4, (b) => b.writeUInt32LE(x));
  }
  u64(x) {
    this.#push(8, (b) => b.writeBigUInt64LE(BigInt(x)));
  }
  value(type, x) {
    if (type === 'u32') this.u32(x);
    else if (type === 'i32') this.#push(4, (b) => b.writeInt32LE(x));
    else if (type === 'f32') this.#push(4, (b) => b.writeFloatLE(x));
    else if (type === 'bool') this.#push(1, (b) => b.writeUInt8(x ? 1 : 0));
    else if (type === 'string') {
      const text = Buffer.from(x, 'utf8');
      this.u64(text.length);
      this.raw(text);
    } else throw new Error(`GGUF value type "${type}" is not known; expected one of ${Object.keys(valueTypes).join(', ')}`);
  }
  bytes() {
    return Buffer.concat(this.#chunks, this.length);
  }
}

const roundUp = (n) => Math.ceil(n / alignment) * alignment;

/**
 * metadata: [key, type, value] or [key, 'array', elementType, values].
 * tensors: { name, dims (rows first, as in PyTorch), type, data(): TypedArray }; data is asked for once, in order.
 */
export function writeGguf(file, metadata, tensors) {
  const head = new ByteSink();
  head.raw(Buffer.from('GGUF'));
  head.u32(3);
  head.u64(tensors.length);
  head.u64(metadata.length);
  for (const [key, type, value, values] of metadata) {
    head.value('string', key);
    head.u32(valueTypes[type]);
    if (type !== 'array') {
      head.value(type, value);
      continue;
    }
    head.u32(valueTypes[value]);
    head.u64(values.length);
    for (const element of values) head.value(value, element);
  }
  let offset = 0;
  const offsets = [];
  for (const { name, dims, type } of tensors) {
    head.value('string', name);
    head.u32(dims.length);
    for (const dim of [...dims].reverse()) head.u64(dim); // GGUF counts the fastest dimension first
    head.u32(tensorTypes[type].code);
    head.u64(offset);
    offsets.push(offset);
    offset = roundUp(offset + dims.reduce((a, b) => a * b, 1) * tensorTypes[type].bytes);
  }
  const start = roundUp(head.length);
  const descriptor = fs.openSync(file, 'w');
  try {
    writeAll(descriptor, head.bytes(), 0);
    tensors.forEach(({ name, dims, type, data }, index) => {
      const array = data();
      const expected = dims.reduce((a, b) => a * b, 1) * tensorTypes[type].bytes;
      if (array.byteLength !== expected) {
        throw new Error(`tensor ${name} has ${array.byteLength} bytes, its dims [${dims}] in ${type} need ${expected}`);
      }
      writeAll(descriptor, array, start + offsets[index]);
    });
    fs.ftruncateSync(descriptor, start + offset);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** writeSync may stop short, and refuses more than 2 GiB at once. */
export function writeAll(descriptor, array, position) {
  const bytes = Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(descriptor, bytes, done, Math.min(bytes.length - done, 1 << 26), position + done);
  }
}
