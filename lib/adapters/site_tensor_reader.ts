import { AdapterError } from '../errors.js';
import type { AdapterTensor, FloatDType, IntegerTensor, SiteRequest } from './method.js';
import { toFloat32, toFloat64 } from './rows.js';
import { expectTensorShape } from './tensor_shape.js';

/** Tensors of one module by part, and those that all modules share. */
export type TensorsByPart = ReadonlyMap<string, AdapterTensor | IntegerTensor>;

/** Hands a method the tensors of one site, each checked, and knows which were not asked for. */
export class SiteTensorReader {
  private readonly taken = new Set<string>();

  /** `method`: the method as people write it. */
  constructor(
    private readonly request: Pick<SiteRequest, 'adapter' | 'base' | 'site'>,
    private readonly method: string,
    private readonly own: TensorsByPart,
    private readonly shared: TensorsByPart,
  ) {}

  /** Whether the file has this part for the module, or for all. */
  has(part: string): boolean {
    return this.own.has(part) || this.shared.has(part);
  }

  /** The part as it is stored. Throws AdapterError when it is missing, holds integers or has another shape. */
  floats(part: string, shape?: readonly number[], spelled = part): AdapterTensor {
    const tensor = this.find(part, spelled);
    if (tensor.dtype === 'integer') throw this.unusable(tensor, 'whole numbers', 'F32, F16 or BF16');
    if (shape !== undefined) expectTensorShape(tensor, shape, this.request);
    return tensor;
  }

  /** The part's values in float64. Throws as `floats` does. */
  values(part: string, shape?: readonly number[], spelled = part): Float64Array {
    const { dtype, data } = this.floats(part, shape, spelled);
    return toFloat64(dtype as FloatDType, data);
  }

  /** The part's values in f32. Throws as `floats` does. */
  floats32(part: string, shape?: readonly number[]): Float32Array {
    const { dtype, data } = this.floats(part, shape);
    return toFloat32(dtype, data);
  }

  /** A part of whole numbers. Throws as `floats` does. */
  integers(part: string, shape?: readonly number[], spelled = part): IntegerTensor {
    const tensor = this.find(part, spelled);
    if (tensor.dtype !== 'integer') throw this.unusable(tensor, tensor.dtype.toUpperCase(), 'whole numbers');
    if (shape !== undefined) expectTensorShape(tensor, shape, this.request);
    return tensor;
  }

  /** Shape of a part. Throws AdapterError when it is missing. */
  shape(part: string, spelled = part): readonly number[] {
    return this.find(part, spelled).shape;
  }

  /** Throws AdapterError that names a tensor of the module that nobody asked for. */
  finish(): void {
    const { adapter, site } = this.request;
    for (const [part, { name }] of this.own)
      if (!this.taken.has(part))
        throw new AdapterError(`${adapter}: ${name} has no place in ${this.method} on ${site.path}, a ${site.kind} module`, {
          tensor: name,
        });
  }

  private find(part: string, spelled: string): AdapterTensor | IntegerTensor {
    const tensor = this.own.get(part) ?? this.shared.get(part);
    const { adapter, site } = this.request;
    if (tensor === undefined)
      throw new AdapterError(`${adapter}: ${site.path} has no ${spelled}, which ${this.method} needs there`, {
        module: site.path,
        missing: spelled,
      });
    this.taken.add(part);
    return tensor;
  }

  private unusable({ name }: { name: string }, actual: string, expected: string): AdapterError {
    return new AdapterError(`${this.request.adapter}: ${name} holds ${actual}: expected ${expected}`, { tensor: name, actual, expected });
  }
}
