import { AdapterError } from '../../errors.js';
import type { AdapterMethod, AdapterTensor, LowRank, RowBlock, SiteRequest } from '../method.js';
import { toFloat32, transpose } from '../rows.js';
import { expectTensorShape } from '../tensor_shape.js';
import { type LoraConfig, readLoraConfig } from './lora_config.js';

// With or without the adapter's name, as files of several origins have it.
const factorName = /^(.+)\.lora_([AB])(?:\.([^.]+))?\.(weight|bias)$/;
const embeddingName = /^(.+)\.lora_embedding_([AB])(?:\.([^.]+))?$/;
const magnitudeName = /^(.+)\.lora_magnitude_vector(?:\.([^.]+?))?(?:\.weight)?$/;

/** Low-rank adapters: y += scale · B (A x). Hu et al., https://arxiv.org/abs/2106.09685; with rsLoRA, DoRA, PiSSA, OLoRA and biases as PEFT has them. */
export const lora: AdapterMethod<LoraConfig> = {
  peftType: 'LORA',
  readConfig: readLoraConfig,

  identity: ({ alpha, rankPattern, alphaPattern, rankStabilised, magnitudes, biasOfB, baseChange }) => ({
    alpha,
    rankPattern,
    alphaPattern,
    rankStabilised,
    magnitudes,
    biasOfB,
    baseChange,
  }),

  split(name) {
    const factor = factorName.exec(name);
    if (factor) return { module: factor[1] as string, part: `${factor[2]}.${factor[4]}`, adapterName: factor[3] };
    const embedding = embeddingName.exec(name);
    if (embedding) return { module: embedding[1] as string, part: `${embedding[2]}.embedding`, adapterName: embedding[3] };
    const magnitude = magnitudeName.exec(name);
    if (magnitude)
      return { module: magnitude[1] as string, part: 'magnitude', adapterName: magnitude[2] === 'weight' ? undefined : magnitude[2] };
    return undefined;
  },

  describe: ({ magnitudes, rankStabilised, baseChange }) =>
    [
      rankStabilised ? 'rs' : '',
      magnitudes ? 'DoRA' : 'LoRA',
      baseChange === 'pissa' ? ' (PiSSA)' : baseChange === 'olora' ? ' (OLoRA)' : '',
    ].join(''),

  measure(config, module, parts) {
    const rank = (parts.get('A.weight') ?? parts.get('A.embedding'))?.[0];
    return rank === undefined ? undefined : { rank, scale: scaleOf(config, module, rank) };
  },

  read(config, request, parts) {
    const { site } = request;
    const isEmbedding = site.kind === 'embedding';
    const suffix = isEmbedding ? 'embedding' : 'weight';
    const take = takeParts(config, request, parts);
    const a = take(`A.${suffix}`, `lora_${isEmbedding ? 'embedding_' : ''}A`);
    const b = take(`B.${suffix}`, `lora_${isEmbedding ? 'embedding_' : ''}B`);
    const rank = config.ranks.find(request.module) ?? config.rank;
    expectTensorShape(a, [rank, site.inputs], request);
    expectTensorShape(b, [site.outputs, rank], request);
    const bias = config.biasOfB && !isEmbedding ? take('B.bias', 'lora_B.bias') : undefined;
    if (bias) expectTensorShape(bias, [site.outputs], request);
    const magnitude = config.magnitudes ? take('magnitude', 'lora_magnitude_vector') : undefined;
    if (magnitude) expectTensorShape(magnitude, magnitude.shape.length === 2 ? [1, site.outputs] : [site.outputs], request);
    const left = [...parts.values()].find((tensor) => !take.taken.has(tensor));
    if (left !== undefined)
      throw new AdapterError(
        `${request.adapter}: ${left.name} has no place in a ${lora.describe(config)} adapter on ${site.path}, a ${site.kind} module`,
        { tensor: left.name },
      );
    const factors = sameDType(blockOf(a), transpose(blockOf(b)));
    return {
      ...factors,
      scale: scaleOf(config, request.module, rank),
      bias: bias && toFloat32(bias.dtype, bias.data),
      magnitude: magnitude && toFloat32(magnitude.dtype, magnitude.data),
      baseChange: config.baseChange,
    } satisfies LowRank;
  },
};

function scaleOf(config: LoraConfig, module: string, rank: number): number {
  const alpha = config.alphas.find(module) ?? config.alpha;
  return alpha / (config.rankStabilised ? Math.sqrt(rank) : rank);
}

function takeParts(config: LoraConfig, { adapter, site }: SiteRequest, parts: ReadonlyMap<string, AdapterTensor>) {
  const taken = new Set<AdapterTensor>();
  const take = (part: string, spelled: string): AdapterTensor => {
    const tensor = parts.get(part);
    if (tensor === undefined)
      throw new AdapterError(`${adapter}: ${site.path} has no ${spelled}, which a ${lora.describe(config)} adapter needs there`, {
        module: site.path,
        missing: spelled,
      });
    taken.add(tensor);
    return tensor;
  };
  return Object.assign(take, { taken });
}

const blockOf = ({ dtype, shape, data }: AdapterTensor): RowBlock => ({
  dtype,
  count: shape[0] as number,
  width: shape[1] as number,
  data,
});

function sameDType(a: RowBlock, bT: RowBlock): { a: RowBlock; bT: RowBlock } {
  if (a.dtype === bT.dtype) return { a, bT };
  const f32 = (block: RowBlock): RowBlock => ({ ...block, dtype: 'f32', data: toFloat32(block.dtype, block.data) });
  return { a: f32(a), bT: f32(bT) };
}
