// Adapters with norms of heads of their own, against models whose files hold those weights.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../lib/index.js';
import { bitsOf, expectedScores, type FileTensor, largestError, modelFolder } from './fixture_files.js';
import { changedCopy, scratchFolder, writeTensors } from './write_fixture.js';

const isHeadNorm = (name: string): boolean => /\.self_attn\.[qk]_norm\.weight$/.test(name);
// Another factor for every place, so that heads or places that are mixed up show.
const changed = ({ shape, data }: FileTensor, turn: number): FileTensor => ({
  shape,
  data: Array.from(data, (value, i) => (value + 0.1) * (1 + 0.3 * Math.sin(turn + i))),
});

/** How PEFT names them: copies of modules, or norms that are trained. */
const kinds = [
  { kind: 'modules_to_save', config: { peft_type: 'LORA', r: 2, lora_alpha: 2, modules_to_save: ['q_norm', 'k_norm'] }, suffix: '.weight' },
  { kind: 'LN tuning', config: { peft_type: 'LN_TUNING', target_modules: ['q_norm', 'k_norm'] }, suffix: '.ln_tuning_layers.weight' },
];

describe.each(['qwen3', 'gemma3'])('norms of heads in %s', (name) => {
  it.each(kinds)('as $kind', async ({ config, suffix }) => {
    using scratch = scratchFolder();
    const own: Record<string, FileTensor> = {};
    const other = changedCopy(modelFolder(name), join(scratch.path, 'model'), 'model.safetensors', (tensors) => {
      for (const [path, tensor] of Object.entries(tensors).filter(([path]) => isHeadNorm(path))) {
        tensors[path] = changed(tensor, Object.keys(own).length);
        own[`base_model.model.${path.replace(/\.weight$/, suffix)}`] = tensors[path] as FileTensor;
      }
    });
    const adapter = join(scratch.path, 'adapter');
    mkdirSync(adapter);
    writeFileSync(join(adapter, 'adapter_config.json'), JSON.stringify(config));
    writeTensors(join(adapter, 'adapter_model.safetensors'), own);

    const texts = expectedScores(modelFolder(name));
    using base = await loadModel(modelFolder(name), { adapters: { own: adapter } });
    using expected = await loadModel(other);
    for (const { tokens } of texts) {
      const alone = await base.score({ tokens });
      const [bare, adapted] = await Promise.all([base.score({ tokens }), base.score({ tokens, adapter: 'own' })]);
      const wanted = (await expected.score({ tokens })).logprobs.slice(1) as number[];
      expect(largestError(adapted.logprobs, wanted)).toBeLessThan(2e-5);
      expect(largestError(bare.logprobs, wanted)).toBeGreaterThan(1e-2);
      expect(bitsOf(bare.logprobs)).toBe(bitsOf(alone.logprobs));
    }
  });
});
