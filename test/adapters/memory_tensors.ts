// Tensors of a small safetensors file, or made up, as adapters and their bases are read from.
import { readFileSync } from 'node:fs';
import type { TensorSource } from '../../lib/adapters/method.ts';

interface Stored {
  dtype: string;
  shape: readonly number[];
  bytes: Uint8Array;
}

export class MemoryTensors implements TensorSource {
  readonly tensors = new Map<string, Stored>();

  static fromFile(path: string): MemoryTensors {
    const file = readFileSync(path);
    const headerBytes = Number(file.readBigUInt64LE(0));
    const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString()) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    const made = new MemoryTensors();
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (name === '__metadata__') continue;
      const [begin, end] = data_offsets;
      made.tensors.set(name, { dtype, shape, bytes: new Uint8Array(file.subarray(8 + headerBytes + begin, 8 + headerBytes + end)) });
    }
    return made;
  }

  copy(): MemoryTensors {
    const made = new MemoryTensors();
    for (const [name, tensor] of this.tensors) made.tensors.set(name, tensor);
    return made;
  }

  set(name: string, shape: readonly number[], values: ArrayLike<number>): this {
    this.tensors.set(name, { dtype: 'F32', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) });
    return this;
  }

  setBits(name: string, dtype: 'F16' | 'BF16', shape: readonly number[], bits: Uint16Array): this {
    this.tensors.set(name, { dtype, shape, bytes: new Uint8Array(bits.slice().buffer) });
    return this;
  }

  rename(from: string, to: string): this {
    this.tensors.set(to, this.stored(from));
    this.tensors.delete(from);
    return this;
  }

  /** Values of a tensor, whatever its dtype. */
  values(name: string): Float64Array {
    const { dtype, bytes } = this.stored(name);
    if (dtype === 'I64') return Float64Array.from(new BigInt64Array(bytes.slice().buffer), Number);
    return Float64Array.from(new Float32Array(bytes.slice().buffer));
  }

  stored(name: string): Stored {
    const found = this.tensors.get(name);
    if (found === undefined) throw new Error(`no tensor ${name}`);
    return found;
  }

  names(): string[] {
    return [...this.tensors.keys()];
  }

  info(name: string): { dtype: string; shape: readonly number[] } | undefined {
    return this.tensors.get(name);
  }

  async read(name: string): Promise<ArrayBuffer> {
    return this.stored(name).bytes.slice().buffer as ArrayBuffer;
  }
}
