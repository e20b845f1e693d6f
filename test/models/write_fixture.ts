// Folders made from fixtures with some tensors changed.
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FileTensor, readTensors } from './fixture_files.js';

/** A folder that is gone at the end of the scope. */
export function scratchFolder(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'heddle-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

/** Writes f32 tensors as a safetensors file. */
export function writeTensors(file: string, tensors: Readonly<Record<string, FileTensor>>): void {
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const begin = end;
    end += 4 * data.length;
    header[name] = { dtype: 'F32', shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeFileSync(
    file,
    Buffer.concat([length, padded, ...Object.values(tensors).map(({ data }) => Buffer.from(Float32Array.from(data).buffer))]),
  );
}

/** Copies a folder, with the f32 tensors of `file` as `change` leaves them. */
export function changedCopy(from: string, to: string, file: string, change: (tensors: Record<string, FileTensor>) => void): string {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) if (name !== file) copyFileSync(join(from, name), join(to, name));
  const tensors = readTensors(join(from, file));
  change(tensors);
  writeTensors(join(to, file), tensors);
  return to;
}
