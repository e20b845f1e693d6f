import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { fromNative, ModelError } from '../errors.js';
import type { WeightPart, WeightRequest, WeightStore } from '../models/weight_store.js';
import { throwIfAborted } from '../runtime/abort_signal.js';
import { binding, type NativeSafetensorsFile } from '../runtime/binding.js';
import { dtypeBytes, dtypeCode } from '../runtime/dtype.js';

/** Where a tensor's bytes are. */
export interface TensorLocation {
  readonly file: NativeSafetensorsFile;
  readonly begin: number;
  readonly dtype: string;
}

/** Told while weights are read. */
export interface LoadProgress {
  /** Bytes in native memory so far. */
  readonly bytes: number;
  /** Bytes that all weights take there. */
  readonly totalBytes: number;
}

const codes: Record<string, number> = { F32: dtypeCode.f32, F16: dtypeCode.f16, BF16: dtypeCode.bf16 };

/** Fills every weight that the graphs asked for, off the event loop. */
export async function loadWeights(
  store: WeightStore,
  locate: (name: string) => TensorLocation,
  options: { signal?: AbortSignal | undefined; onProgress?: ((progress: LoadProgress) => void) | undefined } = {},
): Promise<void> {
  const requests = [...store.requests.values()];
  const totalBytes = requests.reduce((sum, r) => sum + r.tensor.buffer.byteLength, 0);
  let bytes = 0;
  for (const request of requests) {
    throwIfAborted(options.signal);
    await fill(request, locate);
    bytes += request.tensor.buffer.byteLength;
    options.onProgress?.({ bytes, totalBytes });
  }
}

async function fill(request: WeightRequest, locate: (name: string) => TensorLocation): Promise<void> {
  await rewrite(request, async () => {
    await Promise.all(request.parts.map((part) => fillPart(request, part, locate(part.tensor))));
  });
}

/** Lets `write` write parts of a weight: a compact one is plain meanwhile. */
export async function rewrite({ mayBeCompact, tensor: { buffer } }: WeightRequest, write: () => Promise<void>): Promise<void> {
  if (mayBeCompact === undefined) return await write();
  const { outputs, inputs } = mayBeCompact;
  await binding().plainPanels(buffer, outputs, inputs);
  try {
    await write();
  } finally {
    await binding().compactPanels(buffer, outputs, inputs);
  }
}

/** Reads one tensor of a weight from its file, within `rewrite`. Throws FileAccessError, or DeviceError when the device is lost. */
export async function fillPart(request: WeightRequest, part: WeightPart, from: TensorLocation): Promise<void> {
  try {
    await readPart(request, part, from);
  } catch (error) {
    throw fromNative(error, { tensor: part.tensor });
  }
}

/** How the addon packs one tensor of a weight of panels. */
export function panelLayout(
  { transposed, mayBeCompact }: WeightRequest,
  { shape }: WeightPart,
  dtype: number,
): Parameters<ReturnType<typeof binding>['packRows']>[2] {
  const [rows, inputs] = (transposed ? [shape[1], shape[0]] : shape) as [number, number];
  return { dtype, rows, inputs, transposed, mayBeCompact: mayBeCompact !== undefined };
}

function readPart(request: WeightRequest, part: WeightPart, from: TensorLocation): Promise<void> {
  const { kind, tensor } = request;
  const native = binding();
  const { file, begin } = from;
  const dtype = codes[from.dtype] as number;
  if (kind === 'panels') return native.packRows(file, begin, panelLayout(request, part, dtype), tensor.buffer, part.first);
  const count = part.shape.reduce((n, size) => n * size, 1);
  return native.copyElements(file, begin, count, dtype, dtypeCode[tensor.dtype], tensor.buffer, part.first * dtypeBytes[tensor.dtype]);
}

/** Where a folder has a tensor. Throws ModelError where it has none. */
export function locateTensor(folder: HuggingFaceFolder, name: string): TensorLocation {
  const info = folder.tensors.info(name);
  const file = folder.tensors.fileOf(name);
  if (info === undefined || file === undefined)
    throw new ModelError(`${folder.name}: the checkpoint has no tensor ${name}`, { tensor: name });
  return { file: file.native, begin: info.begin, dtype: info.dtype };
}
