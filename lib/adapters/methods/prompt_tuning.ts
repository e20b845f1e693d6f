import { z } from 'zod';
import { type AdapterMethod, virtualTokensPath } from '../method.js';
import { readMethodOptions, refuseOption } from '../method_options.js';
import { tensorRows } from '../rows.js';

/** Options of the methods that bring positions in front of the text. */
export const virtualTokensSchema = z.looseObject({
  num_virtual_tokens: z.number().int().min(1).max(65_536),
  num_transformer_submodules: z.number().int().nullish(),
});

/** What all methods have in common whose file holds prompt_embeddings and nothing else. */
export const promptEmbeddings = {
  sites: ['virtual'],
  readConfig(raw: Readonly<Record<string, unknown>>, adapter: string): { tokens: number } {
    const options = readMethodOptions(virtualTokensSchema, raw, adapter);
    const modules = options.num_transformer_submodules ?? 1;
    if (modules !== 1) refuseOption(adapter, 'num_transformer_submodules', modules, 'supported are decoders, which have 1');
    return { tokens: options.num_virtual_tokens };
  },
  identity: (config: { tokens: number }) => config,
  split: (name: string) =>
    /^(?:base_model\.)?prompt_embeddings$/.test(name) ? { module: virtualTokensPath, part: 'prompt_embeddings' } : undefined,
  measure: () => undefined,
} as const satisfies Partial<AdapterMethod<{ tokens: number }>>;

function embeddingsOf(peftType: string, kind: string): AdapterMethod<{ tokens: number }> {
  return {
    ...promptEmbeddings,
    peftType,
    describe: () => kind,
    read: ({ tokens }, { site }, parts) => ({
      kind: 'virtual',
      rows: tensorRows(parts.floats('prompt_embeddings', [tokens, site.outputs])),
    }),
  };
}

/** Trained embeddings in front of the text. Lester et al., https://arxiv.org/abs/2104.08691. */
export const promptTuning = embeddingsOf('PROMPT_TUNING', 'prompt tuning');

/** The same, from a small network in training; the file holds what that network gives. Liu et al., https://arxiv.org/abs/2103.10385. */
export const pTuning = embeddingsOf('P_TUNING', 'p-tuning');
