// Writes one safetensors file: length of the header, JSON header, tensors without holes.
import fs from 'node:fs';
import { writeAll } from './gguf_writer.mjs';

const widths = { BF16: 2, F32: 4 };

/** tensors: { name, dims, dtype: 'BF16' | 'F32', data(): TypedArray }. */
export function writeSafetensors(file, tensors) {
  const header = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, dims, dtype } of tensors) {
    const end = offset + dims.reduce((a, b) => a * b, 1) * widths[dtype];
    header[name] = { dtype, shape: dims, data_offsets: [offset, end] };
    offset = end;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const head = Buffer.alloc(8 + text.length);
  head.writeBigUInt64LE(BigInt(text.length));
  head.write(text, 8, 'latin1');
  const descriptor = fs.openSync(file, 'w');
  try {
    writeAll(descriptor, head, 0);
    for (const { name, data } of tensors) writeAll(descriptor, data(), head.length + header[name].data_offsets[0]);
  } finally {
    fs.closeSync(descriptor);
  }
}
