import { ModelError } from '../errors.js';
import { type LinearPrecision, packedDims } from '../ops/index.js';
import { binding } from '../runtime/binding.js';
import type { Device } from '../runtime/device.js';
import { type DeviceTensor, emptyTensor } from '../runtime/device_tensor.js';
import type { DType } from '../runtime/dtype.js';

/** What a checkpoint says of its tensors, without reading them. */
export interface TensorCatalog {
  /** Name of the model in messages. */
  readonly model: string;
  /** dtype as written in safetensors (F32, F16, BF16, …), or undefined when there is no such tensor. */
  info(name: string): { dtype: string; shape: readonly number[] } | undefined;
}

/** One tensor of a checkpoint that becomes (a part of) a weight in native memory. */
export interface WeightPart {
  readonly tensor: string;
  /** Shape it must have. */
  readonly shape: readonly number[];
  /** First output (panels) or element (vector) that it fills. */
  readonly first: number;
}

/** A weight in native memory and what fills it. Memory is reserved when it is asked for and filled when the model is loaded. */
export interface WeightRequest {
  readonly kind: 'panels' | 'vector' | 'rows';
  readonly parts: readonly WeightPart[];
  /** Stored as [inputs, outputs], as GPT-2 does. */
  readonly transposed: boolean;
  readonly source: DType;
  readonly tensor: DeviceTensor;
  /** Of panels that may be compact: the weight's sizes. */
  readonly mayBeCompact?: { readonly outputs: number; readonly inputs: number } | undefined;
}

const floats: Record<string, 'f32' | 'f16' | 'bf16'> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** Weights by name, each reserved once however many graphs use it. */
export class WeightStore {
  readonly requests = new Map<string, WeightRequest>();
  private readonly compact: boolean;

  constructor(
    readonly catalog: TensorCatalog,
    /** For linear layers. */
    readonly precision: LinearPrecision,
    /** What the weights lie in the memory of. */
    readonly device: Device,
    /** Whether bf16 weights of linear layers may lie in 12 bits each, where the processor's kernels are faster so. */
    options: { compact?: boolean } = {},
  ) {
    this.compact = (options.compact ?? true) && device.ordinal === undefined && binding().compactPays();
  }

  has(name: string): boolean {
    return this.catalog.info(name) !== undefined;
  }

  /** Matrices with the same inputs, one above the other, packed for `linear`. */
  panels(matrices: readonly { name: string; outputs: number }[], inputs: number, options: { transposed?: boolean } = {}): DeviceTensor {
    const transposed = options.transposed ?? false;
    return this.reserve(
      'panels',
      matrices,
      transposed,
      (m) => (transposed ? [inputs, m.outputs] : [m.outputs, inputs]),
      (dtype, outputs) => {
        const compact = dtype === 'bf16' && this.compact;
        return {
          tensor: emptyTensor(compact ? 'u8' : dtype, packedDims(compact ? 'u8' : dtype, outputs, inputs), this.device),
          mayBeCompact: compact ? { outputs, inputs } : undefined,
        };
      },
    );
  }

  /** Vectors one behind the other, as f32. */
  vector(parts: readonly { name: string; outputs: number }[]): DeviceTensor {
    return this.reserve(
      'vector',
      parts,
      false,
      (p) => [p.outputs],
      (_, length) => ({ tensor: emptyTensor('f32', [length], this.device) }),
    );
  }

  /** A matrix as it is, for row lookups. */
  rows(name: string, count: number, width: number): DeviceTensor {
    return this.reserve(
      'rows',
      [{ name, outputs: count }],
      false,
      () => [count, width],
      (dtype) => ({ tensor: emptyTensor(dtype, [count, width], this.device) }),
    );
  }

  dispose(): void {
    for (const { tensor } of this.requests.values()) tensor.buffer.dispose();
    this.requests.clear();
  }

  private reserve(
    kind: WeightRequest['kind'],
    parts: readonly { name: string; outputs: number }[],
    transposed: boolean,
    shapeOf: (part: { outputs: number }) => number[],
    allocate: (dtype: 'f32' | 'f16' | 'bf16', outputs: number) => Pick<WeightRequest, 'tensor' | 'mayBeCompact'>,
  ): DeviceTensor {
    const key = `${kind} ${parts.map((p) => p.name).join(' ')}`;
    const known = this.requests.get(key);
    if (known !== undefined) return known.tensor;
    let first = 0;
    let dtype: 'f32' | 'f16' | 'bf16' | undefined;
    const placed: WeightPart[] = [];
    for (const part of parts) {
      const expected = shapeOf(part);
      const found = this.check(part.name, expected);
      if (dtype !== undefined && found !== dtype && kind !== 'vector')
        throw new ModelError(
          `${this.catalog.model}: ${part.name} is ${found} but ${parts[0]?.name} is ${dtype}: weights that are multiplied together must have one dtype`,
        );
      dtype ??= found;
      placed.push({ tensor: part.name, shape: expected, first });
      first += part.outputs;
    }
    if (dtype === undefined) throw new ModelError(`${this.catalog.model}: a weight without parts`);
    const reserved = allocate(dtype, first);
    this.requests.set(key, { kind, parts: placed, transposed, source: dtype, ...reserved });
    return reserved.tensor;
  }

  private check(name: string, expected: readonly number[]): 'f32' | 'f16' | 'bf16' {
    const { model } = this.catalog;
    const info = this.catalog.info(name);
    if (info === undefined)
      throw new ModelError(`${model}: the checkpoint has no tensor ${name}, expected [${expected.join(', ')}]`, { tensor: name, expected });
    if (info.shape.length !== expected.length || info.shape.some((size, i) => size !== expected[i]))
      throw new ModelError(`${model}: ${name} is [${info.shape.join(', ')}], expected [${expected.join(', ')}] by config.json`, {
        tensor: name,
        actual: info.shape,
        expected,
      });
    const dtype = floats[info.dtype];
    if (dtype === undefined)
      throw new ModelError(`${model}: ${name} is ${info.dtype}: expected F32, F16 or BF16`, { tensor: name, actual: info.dtype });
    return dtype;
  }
}
