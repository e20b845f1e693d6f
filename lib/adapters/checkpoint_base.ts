import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { ModelError } from '../errors.js';
import { viewAs } from '../runtime/dtype.js';
import type { AdapterBase, FloatDType, RowBlock, SiteShape, TensorSource } from './method.js';
import { toFloat32, transpose } from './rows.js';

const dtypes: Readonly<Record<string, FloatDType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** The base as its checkpoint has it. Weights are read when an adapter asks; the last one stays for the next rows. */
export class CheckpointBase implements AdapterBase {
  private last: { name: string; block: Promise<RowBlock> } | undefined;

  constructor(
    readonly name: string,
    readonly sites: readonly SiteShape[],
    private readonly source: TensorSource,
    readonly cache: AdapterBase['cache'],
  ) {}

  /** The base of an opened folder. */
  static of({ name, tensors, config: { layers, keyHeads, headWidth } }: HuggingFaceFolder, sites: readonly SiteShape[]): CheckpointBase {
    return new CheckpointBase(name, sites, tensors, { layers, keyHeads, width: headWidth });
  }

  async readRows(site: SiteShape, first: number, count: number): Promise<Float32Array> {
    const turned = site.kind === 'linear' && site.transposed;
    const key = `${site.weight}${turned ? ' transposed' : ''}`;
    if (this.last?.name !== key)
      this.last = { name: key, block: this.read(site.weight).then((block) => (turned ? transpose(block) : block)) };
    const { dtype, width, data } = await this.last.block;
    return toFloat32(dtype, data.subarray(first * width, (first + count) * width));
  }

  async readBias(site: SiteShape): Promise<Float32Array> {
    const { dtype, data } = await this.read(`${site.path}.bias`);
    return toFloat32(dtype, data);
  }

  /** Lets go of the weight that was read last. */
  forget(): void {
    this.last = undefined;
  }

  private async read(name: string): Promise<RowBlock> {
    const info = this.source.info(name);
    const dtype = info && dtypes[info.dtype];
    if (info === undefined || dtype === undefined)
      throw new ModelError(`${this.name}: ${name} is ${info?.dtype ?? 'missing'}: expected F32, F16 or BF16`, { tensor: name });
    const data = viewAs(dtype, await this.source.read(name));
    const width = info.shape.at(-1) ?? 1;
    return { dtype, count: width === 0 ? 0 : data.length / width, width, data };
  }
}
