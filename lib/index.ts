/**
 * heddle: many adapters over one language model in one batch, inside your Node.js process.
 * @packageDocumentation
 */

export { type AdapterSummary, ModelAdapters } from './engine/adapters.js';
export {
  type CudaDeviceInfo,
  type CudaInfo,
  cudaInfo,
  type DeviceInfo,
  type DeviceMemory,
  deviceInfo,
  memory,
  type NativeMemory,
  setThreads,
} from './engine/device.js';
export type { CallOptions, GenerateRequest, ScoreRequestOptions } from './engine/generate_options.js';
export { loadModel } from './engine/load_model.js';
export type { LoadProgress } from './engine/load_weights.js';
export { type MergedFolder, type MergeFolderOptions, mergeFolder } from './engine/merge_folder.js';
export type { MergedAdapter } from './engine/merged_adapter.js';
export { type Completion, type GeneratedPiece, Model, type ModelMemory, type Score } from './engine/model.js';
export type { LoadOptions } from './engine/options.js';
export type { DrawnToken, FinishReason } from './engine/request.js';
export type { SamplingOptions } from './engine/sampling.js';
export type { SchedulerStats } from './engine/scheduler.js';
export * from './errors.js';
export { type CompileOptions, compile } from './graph/compile.js';
export type { GradientOptions } from './graph/gradient.js';
export { Graph, graph } from './graph/graph.js';
export type { RecomputePolicy } from './graph/recompute.js';
export type { StepOptions } from './graph/steps.js';
export { Tensor } from './graph/tensor.js';
export { gradient } from './ops/gradient.js';
/** The operations of graphs: each checks shapes and dtypes where it is called. */
export * as ops from './ops/index.js';
export { type Device, openDevice } from './runtime/device.js';
export { type DeviceTensor, emptyTensor, packedWeight, tensor, tensorSlice } from './runtime/device_tensor.js';
export type { DType } from './runtime/dtype.js';
export { type BurstResult, Program, type RunOptions } from './runtime/program.js';
export type { Dimension, DimensionLike, Shape } from './runtime/shape.js';
export type { ChatMessage } from './text/chat_template.js';
export type { TrainEvent } from './train/events.js';
export type { TrainOptions } from './train/options.js';
export { type LoadingProgress, type TrainControl, type TrainedAdapter, type TrainResult, train } from './train/train.js';
