import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod, SiteRequest } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import type { SiteTensorReader } from '../site_tensor_reader.js';

const schema = z.looseObject({
  init_weights: z.union([z.boolean(), z.string()]).nullish(),
  mini_r: z.number().int().min(1).nullish(),
});

interface MissConfig {
  /** bat: blocks also multiply the base; mini: the shard repeats along the outputs. */
  readonly form: 'plain' | 'bat' | 'mini';
  readonly repeatedOutputs: number;
}

/** Adds W_ij B_i + B_i to each block (i, j) of rows `first`.. of a weight; `first` begins a block. `blocks` [outputs / size, size, size]. */
export function addBlockAffine(rows: Float64Array, first: number, blocks: Float64Array, size: number, inputs: number): void {
  const own = new Float64Array(size);
  for (let at = 0; at < rows.length; at += size) {
    const row = first + Math.floor(at / inputs);
    const block = Math.floor(row / size) * size * size;
    own.set(rows.subarray(at, at + size));
    for (let j = 0; j < size; j++) {
      let sum = blocks[block + (row % size) * size + j] as number;
      for (let k = 0; k < size; k++) sum += (own[k] as number) * (blocks[block + k * size + j] as number);
      rows[at + j] = (rows[at + j] as number) + sum;
    }
  }
}

/** One shard of rank r that repeats along the inputs: y += D (sums of every r-th input). Kang and Yin (MiSS, before Bone), https://arxiv.org/abs/2409.15371. */
export const miss: AdapterMethod<MissConfig> = {
  peftType: 'MISS',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const options = readMethodOptions(schema, raw, adapter);
    const form = options.init_weights === 'bat' || options.init_weights === 'mini' ? options.init_weights : 'plain';
    return { form, repeatedOutputs: options.mini_r ?? 1 };
  },

  identity: (config) => config,
  split: partNames(['miss_block']),
  describe: ({ form }) => (form === 'plain' ? 'MiSS' : `MiSS (${form})`),

  measure({ form }, _module, shapes) {
    const rank = shapes.get('miss_block')?.[form === 'bat' ? 1 : 0];
    return rank === undefined ? undefined : { rank, scale: 1 };
  },

  read(config, request, parts) {
    if (config.form === 'bat') return blockAffine(request, parts);
    const { inputs, outputs } = request.site;
    const [rank = 0, stored = 0] = parts.shape('miss_block');
    const width = config.form === 'mini' ? config.repeatedOutputs : outputs;
    const shard = parts.values('miss_block', [rank, width]);
    const a = new Float32Array(rank * inputs);
    for (let i = 0; i < inputs; i++) a[(i % rank) * inputs + i] = 1;
    const bT = new Float32Array(rank * outputs);
    for (let j = 0; j < rank; j++) for (let n = 0; n < outputs; n++) bT[j * outputs + n] = shard[j * stored + (n % width)] as number;
    return {
      kind: 'lowRank',
      a: { dtype: 'f32', count: rank, width: inputs, data: a },
      bT: { dtype: 'f32', count: rank, width: outputs, data: bT },
      scale: 1,
    };
  },
};

function blockAffine({ adapter, base, site }: SiteRequest, parts: SiteTensorReader) {
  const [count = 0, size = 0] = parts.shape('miss_block');
  const blocks = parts.values('miss_block', [count, size, size]);
  if (count * size !== site.outputs || size === 0 || site.inputs % size !== 0)
    throw new AdapterError(
      `${adapter} does not fit ${base}: miss_block of ${site.path} is [${count}, ${size}, ${size}], which does not divide [${site.outputs}, ${site.inputs}] into blocks`,
      { module: site.path, actual: [count, size, size], base },
    );
  return {
    kind: 'weight',
    rowGroup: 1,
    workPerRow: site.inputs * size,
    merge: (rows: Float64Array, first: number) => addBlockAffine(rows, first, blocks, size, site.inputs),
  } as const;
}
