import type { AdapterMethod } from '../method.js';
import { sameDType, tensorRows, toFloat32, transpose } from '../rows.js';
import { expectTensorShape } from '../tensor_shape.js';
import { type LoraConfig, readLoraConfig } from './lora_config.js';

// With or without the adapter's name, as files of several origins have it.
const factorName = /^(.+)\.lora_([AB])(?:\.([^.]+))?\.(weight|bias)$/;
const embeddingName = /^(.+)\.lora_embedding_([AB])(?:\.([^.]+))?$/;
const magnitudeName = /^(.+)\.lora_magnitude_vector(?:\.([^.]+?))?(?:\.weight)?$/;

/** Low-rank adapters: y += scale · B (A x). Hu et al., https://arxiv.org/abs/2106.09685; with rsLoRA, DoRA, PiSSA, OLoRA and biases as PEFT has them. */
export const lora: AdapterMethod<LoraConfig> = {
  peftType: 'LORA',
  sites: ['linear', 'embedding'],
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
    const spelled = (factor: string): string => `lora_${isEmbedding ? 'embedding_' : ''}${factor}`;
    const rank = config.ranks.find(request.module) ?? config.rank;
    parts.shape(`A.${suffix}`, spelled('A'));
    parts.shape(`B.${suffix}`, spelled('B'));
    const a = parts.floats(`A.${suffix}`, [rank, site.inputs], spelled('A'));
    const b = parts.floats(`B.${suffix}`, [site.outputs, rank], spelled('B'));
    const bias = config.biasOfB && !isEmbedding ? parts.floats('B.bias', [site.outputs], 'lora_B.bias') : undefined;
    const magnitude = config.magnitudes ? parts.floats('magnitude', undefined, 'lora_magnitude_vector') : undefined;
    if (magnitude) expectTensorShape(magnitude, magnitude.shape.length === 2 ? [1, site.outputs] : [site.outputs], request);
    return {
      kind: 'lowRank',
      ...sameDType(tensorRows(a), transpose(tensorRows(b))),
      scale: scaleOf(config, request.module, rank),
      bias: bias && toFloat32(bias.dtype, bias.data),
      magnitude: magnitude && toFloat32(magnitude.dtype, magnitude.data),
      baseChange: config.baseChange,
    };
  },
};

function scaleOf(config: LoraConfig, module: string, rank: number): number {
  const alpha = config.alphas.find(module) ?? config.alpha;
  return alpha / (config.rankStabilised ? Math.sqrt(rank) : rank);
}
