import { OptionError } from '../errors.js';
import { writeAll, writeWholeFile } from './whole_file.js';

/** A tensor to be written. */
export interface TensorToWrite {
  readonly name: string;
  /** As safetensors spells it: F32, F16, BF16, I64, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Its elements, little endian; or what makes them when their turn comes, so that a large file is never in memory as a whole. */
  readonly data: TensorBytes | StreamedBytes | (() => Promise<TensorBytes>);
}

/** Elements of a tensor. */
export type TensorBytes = ArrayBuffer | ArrayBufferView;

/** Bytes that are read piece by piece while they are written. */
export interface StreamedBytes {
  readonly length: number;
  read(offset: number, bytes: number): Promise<ArrayBuffer>;
}

// Small, so that the pieces that were written do not fill memory before they are collected.
const pieceBytes = 1 << 20;

const bits: Record<string, number> = {
  ...{ BOOL: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8 },
  ...{ I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64 },
};

const longestName = 1024;
const largestHeader = 100_000_000;

/**
 * Writes a safetensors file whole or not at all: under a temporary name in the same folder, flushed to the disk, then renamed. Readers of an
 * older file of that name keep what they have.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { header, parts } = layOut(tensors, metadata);
  await writeWholeFile(path, async (file) => {
    await writeAll(file, header, options.signal);
    for (const { tensor, bytes } of parts) for await (const piece of piecesOf(tensor, bytes)) await writeAll(file, piece, options.signal);
  });
}

/** A tensor and how many bytes it has. */
interface Part {
  readonly tensor: TensorToWrite;
  readonly bytes: number;
}

function layOut(tensors: Iterable<TensorToWrite>, metadata: Readonly<Record<string, string>>): { header: Uint8Array; parts: Part[] } {
  const all = [...tensors].map((tensor) => ({ tensor, width: widthOf(tensor) }));
  // Wide elements first, so that every tensor is aligned to its own; then by name, so that equal tensors give equal files.
  all.sort((a, b) => b.width - a.width || (a.tensor.name < b.tensor.name ? -1 : 1));
  const entries: [string, unknown][] = [];
  const seen = new Set<string>();
  const parts: Part[] = [];
  let at = 0;
  for (const { tensor, width } of all) {
    const { name, dtype, shape, data } = tensor;
    const refuse = (message: string): OptionError => new OptionError(`tensor "${name}": ${message}`, { tensor: name });
    if (name === '__metadata__' || Buffer.byteLength(name) > longestName)
      throw refuse(`expected a name of at most ${longestName} bytes other than __metadata__`);
    if (seen.has(name)) throw refuse('appears twice');
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0))
      throw refuse(`the shape is [${shape.join(', ')}]: expected integers from 0`);
    const expected = (shape.reduce((product, size) => product * size, 1) * width) / 8;
    if (typeof data !== 'function') checkBytes(tensor, 'read' in data ? data.length : data.byteLength, expected);
    seen.add(name);
    entries.push([name, { dtype, shape, data_offsets: [at, at + expected] }]);
    parts.push({ tensor, bytes: expected });
    at += expected;
  }
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== 'string') throw new OptionError(`metadata "${key}" is ${typeof value}: expected a string`, { key });
  if (Object.keys(metadata).length > 0) entries.unshift(['__metadata__', metadata]);
  return { header: headerOf(entries), parts };
}

function headerOf(entries: readonly (readonly [string, unknown])[]): Uint8Array {
  // Written pair by pair: an object would lose a tensor named __proto__ and reorder names that look like numbers.
  const json = Buffer.from(`{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8; // padded, so that the data is aligned too
  if (length > largestHeader)
    throw new OptionError(`the header would have ${length} bytes, expected at most ${largestHeader}: fewer tensors or less metadata`);
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length));
  json.copy(header, 8);
  return header;
}

function widthOf({ name, dtype }: TensorToWrite): number {
  const width = Object.hasOwn(bits, dtype) ? bits[dtype] : undefined;
  if (width === undefined)
    throw new OptionError(`tensor "${name}": unknown dtype "${dtype}", expected one of ${Object.keys(bits).join(', ')}`, {
      tensor: name,
      dtype,
    });
  return width;
}

function checkBytes({ name, dtype, shape }: TensorToWrite, actual: number, expected: number): void {
  if (actual === expected) return;
  throw new OptionError(`tensor "${name}": the data has ${actual} bytes, but ${dtype} [${shape.join(', ')}] needs ${expected}`, {
    tensor: name,
  });
}

async function* piecesOf(tensor: TensorToWrite, expected: number): AsyncGenerator<Uint8Array> {
  const { data } = tensor;
  if (typeof data !== 'function' && 'read' in data) {
    for (let at = 0; at < data.length; at += pieceBytes) yield new Uint8Array(await data.read(at, Math.min(pieceBytes, data.length - at)));
    return;
  }
  const bytes = bytesOf(typeof data === 'function' ? await data() : data);
  checkBytes(tensor, bytes.length, expected);
  yield bytes;
}

function bytesOf(data: TensorBytes): Uint8Array {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}
