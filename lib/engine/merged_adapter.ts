import type { CheckpointBase } from '../adapters/checkpoint_base.js';
import { type MergedTensor, mergedTensors } from '../adapters/merged_tensors.js';
import type { AdapterParts, FloatDType } from '../adapters/method.js';
import { toFloat32 } from '../adapters/rows.js';
import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { AdapterError, fromNative, ModelError } from '../errors.js';
import type { WeightPart, WeightRequest, WeightStore } from '../models/weight_store.js';
import { binding } from '../runtime/binding.js';
import { writeBytes } from '../runtime/device_tensor.js';
import { dtypeBytes, dtypeCode } from '../runtime/dtype.js';
import { fillPart, locateTensor, panelLayout, rewrite } from './load_weights.js';

/** The adapter that is part of a model's weights. */
export interface MergedAdapter {
  readonly name: string;
  readonly scale: number;
  readonly contentHash: string;
}

const dtypes: Readonly<Record<string, FloatDType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** dtype of a tensor of a folder. Throws ModelError where it is none of F32, F16 and BF16. */
export function checkpointDtype(folder: HuggingFaceFolder, tensor: string): FloatDType {
  const found = folder.tensors.info(tensor)?.dtype;
  const dtype = found === undefined ? undefined : dtypes[found];
  if (dtype === undefined)
    throw new ModelError(`${folder.name}: ${tensor} is ${found ?? 'missing'}: expected F32, F16 or BF16`, { tensor, actual: found });
  return dtype;
}

/** Writes adapters into the weights of a loaded model, and the checkpoint's own bytes back. Nothing may run meanwhile. */
export class WeightMerger {
  private changed = new Set<string>();

  constructor(
    private readonly folder: HuggingFaceFolder,
    private readonly weights: WeightStore,
    private readonly base: CheckpointBase,
  ) {}

  /** Throws AdapterError where the adapter cannot be merged; then the weights are the base's. */
  async merge(adapter: string, parts: AdapterParts, scale: number): Promise<void> {
    const dtypeOf = (tensor: string): FloatDType => checkpointDtype(this.folder, tensor);
    try {
      for (const { tensor, make } of mergedTensors({ adapter, parts, scale, base: this.base, dtypeOf })) {
        const places = this.placesOf(tensor);
        if (places.length === 0)
          throw new AdapterError(`${adapter} cannot be merged: ${this.folder.name} has no weight ${tensor} in memory`, { adapter, tensor });
        const merged = await make();
        this.changed.add(tensor);
        for (const { request, part } of places) await rewrite(request, () => write(merged, request, part));
      }
    } catch (error) {
      await this.restore();
      throw error;
    } finally {
      this.base.forget();
    }
  }

  /** Reads every changed tensor from the checkpoint again: the same bytes as when the model was loaded. */
  async restore(): Promise<void> {
    for (const tensor of [...this.changed]) {
      for (const { request, part } of this.placesOf(tensor)) {
        await rewrite(request, () => fillPart(request, part, locateTensor(this.folder, tensor)));
      }
      this.changed.delete(tensor);
    }
  }

  private placesOf(tensor: string): { request: WeightRequest; part: WeightPart }[] {
    return [...this.weights.requests.values()].flatMap((request) =>
      request.parts.filter((part) => part.tensor === tensor).map((part) => ({ request, part })),
    );
  }
}

// As load_weights.ts does it from the file.
async function write({ dtype, data }: MergedTensor, request: WeightRequest, part: WeightPart): Promise<void> {
  const { kind, tensor } = request;
  if (kind === 'panels') {
    try {
      await binding().packRows(data, 0, panelLayout(request, part, dtypeCode[dtype]), tensor.buffer, part.first);
    } catch (error) {
      throw fromNative(error, { tensor: part.tensor });
    }
    return;
  }
  const width = part.shape.slice(1).reduce((product, size) => product * size, 1);
  const first = kind === 'rows' ? part.first * width : part.first;
  const values = tensor.dtype === dtype ? data : toFloat32(dtype, data);
  await writeBytes(tensor, first * dtypeBytes[tensor.dtype], values);
}
