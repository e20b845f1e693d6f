import { totalmem } from 'node:os';
import { wholeUnits } from '../adapters/placement.js';
import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import type { ModelConfig } from '../checkpoint/model_config.js';
import { OptionError } from '../errors.js';
import type { CacheLayout } from '../models/serving_paths.js';
import { blockTokens } from '../ops/index.js';
import { type Device, memoryOn } from '../runtime/device.js';
import { dtypeBytes } from '../runtime/dtype.js';

const adapterReserve = 64 * 2 ** 20;

/** Where each layer's keys and values lie in a page; native/kernels/attention/attention_layout.h has the inside of a layer. */
export function cacheLayout(config: ModelConfig, dtype: 'f32' | 'f16' | 'bf16', widestRow: number): CacheLayout {
  const layerBytes = wholeUnits(2 * config.keyHeads * config.headWidth * blockTokens * dtypeBytes[dtype]);
  const layerOffsets = Array.from({ length: config.layers }, (_, layer) => layer * layerBytes);
  // A page also holds rows of adapters, which never cross its end.
  const pageBytes = Math.max(layerBytes * config.layers, wholeUnits(widestRow));
  return { dtype, pageBytes, layerOffsets, keyHeads: config.keyHeads, width: config.headWidth };
}

/** The widest row that an adapter of this model can have, in bytes. Embedding factors are cut into pieces of their own. */
export function widestAdapterRow(config: ModelConfig): number {
  const widest = Math.max(
    config.hiddenSize,
    2 * config.intermediateSize,
    (config.heads + 2 * config.keyHeads) * config.headWidth,
    config.vocabularySize,
    4096,
  );
  return widest * 4;
}

/** Bytes that a pool may take where nothing is said, and whether memory is only taken as it is used. */
export interface PoolRoom {
  readonly bytes: number;
  readonly asUsed: boolean;
}

/** On the processor a quarter of the memory; on a CUDA device three quarters of what weights leave free, the rest is for programs. */
export function poolRoom(device: Device, { tensors }: HuggingFaceFolder): PoolRoom {
  if (device.ordinal === undefined) return { bytes: totalmem() / 4, asUsed: true };
  let free = memoryOn(device)?.freeBytes ?? 0;
  for (const name of tensors.names()) {
    const { begin, end } = tensors.info(name) as { begin: number; end: number };
    free -= end - begin;
  }
  return { bytes: Math.max(0, 0.75 * free), asUsed: false };
}

/** Pages of the pool: what was asked for, or room for every request at a modest length beside some adapters. */
export function poolPages(
  options: { poolBytes?: number | undefined; maxRequests: number },
  layout: CacheLayout,
  contextBlocks: number,
  room: PoolRoom,
): number {
  const { pageBytes } = layout;
  if (options.poolBytes !== undefined) {
    const pages = Math.floor(options.poolBytes / pageBytes);
    if (pages < 1)
      throw new OptionError(`poolBytes is ${options.poolBytes}: expected at least one page of ${pageBytes} bytes`, {
        actual: options.poolBytes,
        expected: pageBytes,
      });
    return pages;
  }
  const forAdapters = Math.ceil(adapterReserve / pageBytes);
  const wanted = options.maxRequests * Math.min(contextBlocks, Math.ceil(512 / blockTokens)) + forAdapters;
  const whole = contextBlocks + forAdapters + 1;
  const most = Math.floor(room.bytes / pageBytes);
  // A request of the longest context fits beside some adapters where that costs nothing until it comes.
  return room.asUsed ? Math.max(whole, Math.min(wanted, most)) : Math.max(1, Math.min(Math.max(wanted, whole), most));
}
