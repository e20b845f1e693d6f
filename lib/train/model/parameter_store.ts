// Parameters of all adapters of a training in one piece of native memory, and their gradients in another laid out alike.
import type { ParameterSpec } from '../../adapters/trainable_method.js';
import type { Device } from '../../runtime/device.js';
import { type DeviceTensor, emptyTensor, readBytes, writeBytes } from '../../runtime/device_tensor.js';
import type { ParameterGroup } from '../step_runner.js';

// Rows of factors are addressed in units of 64 bytes, as in native/kernels/grouped_lora/grouped_lora_layout.h.
const unit = 16;
const align = (elements: number): number => Math.ceil(elements / unit) * unit;

/** A parameter in the store: `rows` rows of `width` elements, `stride` apart. */
export interface StoredParameter {
  readonly spec: ParameterSpec;
  /** Module path; '' where it belongs to the whole model. */
  readonly path: string;
  /** Elements from the start of the store. */
  readonly offset: number;
  readonly rows: number;
  readonly width: number;
  readonly stride: number;
}

/** One adapter's part of the store. */
export interface StoredAdapter {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
  /** Offsets count from the start of the adapter's part. */
  readonly groups: readonly ParameterGroup[];
  readonly parameters: readonly StoredParameter[];
}

const groupKey = (spec: ParameterSpec): string =>
  spec.trained ? `rate x ${spec.rateMultiplier ?? 1}${spec.decays === false ? ', no decay' : ''}` : 'frozen';

/** Lays parameters out: those that are stepped alike lie together, frozen ones last; every row begins at a multiple of 64 bytes. */
export class ParameterStore {
  readonly adapters: StoredAdapter[] = [];
  private length = 0;
  private memory: { values: DeviceTensor; gradients: DeviceTensor } | undefined;

  constructor(private readonly device: Device) {}

  add(name: string, parameters: readonly { path: string; spec: ParameterSpec }[]): StoredAdapter {
    const offset = this.length;
    const byGroup = new Map<string, typeof parameters>();
    for (const parameter of parameters) {
      const key = groupKey(parameter.spec);
      byGroup.set(key, [...(byGroup.get(key) ?? []), parameter]);
    }
    const groups: ParameterGroup[] = [];
    const stored: StoredParameter[] = [];
    for (const [key, members] of [...byGroup].sort(([a], [b]) => Number(a === 'frozen') - Number(b === 'frozen'))) {
      const first = this.length;
      for (const { path, spec } of members) {
        const width = spec.shape.at(-1) as number;
        const rows = spec.shape.length === 2 ? (spec.shape[0] as number) : 1;
        const stride = align(width);
        stored.push({ spec, path, offset: this.length, rows, width, stride });
        this.length += rows * stride;
      }
      const { trained, rateMultiplier = 1, decays = true } = (members[0] as { spec: ParameterSpec }).spec;
      if (trained) groups.push({ name: key, offset: first - offset, length: this.length - first, rateMultiplier, decays });
    }
    const adapter = { name, offset, length: this.length - offset, groups, parameters: stored };
    this.adapters.push(adapter);
    return adapter;
  }

  /** Elements of all adapters. */
  get elements(): number {
    return this.length;
  }

  /** f32 [elements]; reserved when first asked for, after all adapters were added. */
  get values(): DeviceTensor {
    return this.reserve().values;
  }

  /** f32 [elements] */
  get gradients(): DeviceTensor {
    return this.reserve().gradients;
  }

  /** A part of values or gradients as a tensor of its own. */
  slice(kind: 'values' | 'gradients', offset: number, dims: readonly number[]): DeviceTensor {
    const whole = this.reserve()[kind];
    return { ...whole, dims, offset: offset * 4 };
  }

  async write({ offset, rows, width, stride }: StoredParameter, values: Float32Array): Promise<void> {
    const padded = new Float32Array(rows * stride);
    for (let row = 0; row < rows; row++) padded.set(values.subarray(row * width, (row + 1) * width), row * stride);
    await writeBytes(this.values, offset * 4, padded);
  }

  /** Without the gaps between rows. */
  async read({ offset, rows, width, stride }: StoredParameter, kind: 'values' | 'gradients' = 'values'): Promise<Float32Array> {
    const padded = new Float32Array(await readBytes(this.reserve()[kind], offset * 4, rows * stride * 4));
    const values = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++) values.set(padded.subarray(row * stride, row * stride + width), row * width);
    return values;
  }

  async clearGradients(): Promise<void> {
    await writeBytes(this.gradients, 0, new Float32Array(this.gradients.dims[0] as number));
  }

  dispose(): void {
    this.memory?.values.buffer.dispose();
    this.memory?.gradients.buffer.dispose();
    this.memory = undefined;
  }

  private reserve(): { values: DeviceTensor; gradients: DeviceTensor } {
    this.memory ??= {
      values: emptyTensor('f32', [Math.max(this.length, unit)], this.device),
      gradients: emptyTensor('f32', [Math.max(this.length, unit)], this.device),
    };
    return this.memory;
  }
}
