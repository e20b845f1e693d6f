import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointBase } from '../../lib/adapters/checkpoint_base.ts';
import { inspectPeftFolder, loadPeftFolder } from '../../lib/adapters/peft_folder.ts';
import { openSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { llamaCache, llamaSites } from './llama.reference.ts';

const fixtures = join(import.meta.dirname, '../fixtures');
let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'heddle-adapter-')), 'mine');
  cpSync(join(fixtures, 'adapters/lora-embeddings-head'), folder, { recursive: true });
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true }));

async function load() {
  const file = await openSafetensors(join(fixtures, 'models/llama/model.safetensors'));
  try {
    return await loadPeftFolder(folder, new CheckpointBase('models/llama', llamaSites(), file, llamaCache));
  } finally {
    file.dispose();
  }
}

describe('loadPeftFolder', () => {
  it('reads a folder as PEFT saves it', async () => {
    const { summary, sites, contentHash } = await load();
    expect(summary).toEqual(await inspectPeftFolder(folder));
    expect(summary).toMatchObject({ kind: 'LoRA', ranks: [6], targets: ['embed_tokens', 'lm_head', 'q_proj'] });
    expect([...sites.keys()]).toEqual([
      'model.embed_tokens',
      'model.layers.0.self_attn.q_proj',
      'model.layers.1.self_attn.q_proj',
      'lm_head',
    ]);
    expect(contentHash).toBe((await load()).contentHash);
  });

  it('asks to convert a folder that only has a pickle', async () => {
    renameSync(join(folder, 'adapter_model.safetensors'), join(folder, 'adapter_model.bin'));
    await expect(load()).rejects.toMatchObject({
      code: 'ERR_HEDDLE_ADAPTER',
      message: expect.stringMatching(/mine .*adapter_model.bin.*convert it to/),
    });
  });

  it('names the file that is missing', async () => {
    rmSync(join(folder, 'adapter_model.safetensors'));
    await expect(load()).rejects.toMatchObject({ code: 'ERR_HEDDLE_ADAPTER', message: 'mine has no adapter_model.safetensors' });
    rmSync(join(folder, 'adapter_config.json'));
    await expect(load()).rejects.toMatchObject({ code: 'ERR_HEDDLE_IO', message: expect.stringContaining('adapter_config.json') });
  });

  it('reads the configuration within bounds', async () => {
    const write = (text: string): void => writeFileSync(join(folder, 'adapter_config.json'), text);
    write(`${'['.repeat(1000)}${']'.repeat(1000)}`);
    await expect(load()).rejects.toMatchObject({ code: 'ERR_HEDDLE_FILE' });
    write('{"peft_type": ');
    await expect(load()).rejects.toMatchObject({ code: 'ERR_HEDDLE_FILE' });
    write('[]');
    await expect(load()).rejects.toThrow(/no JSON object/);
    write(' '.repeat((4 << 20) + 1));
    await expect(load()).rejects.toMatchObject({ code: 'ERR_HEDDLE_FILE' });
  });

  it.each(['adapter_config.json', 'adapter_model.safetensors'])(
    'refuses %s where it is a link that leads out of the folder',
    async (name) => {
      renameSync(join(folder, name), join(folder, '..', name));
      symlinkSync(join('..', name), join(folder, name));
      await expect(load()).rejects.toMatchObject({ code: 'ERR_HEDDLE_FILE', details: { rule: 'link-outside' } });
      renameSync(join(folder, '..', name), join(folder, 'real'));
      rmSync(join(folder, name));
      symlinkSync('real', join(folder, name));
      await load();
    },
  );

  it('reads one of several adapters in a folder of the Hugging Face cache', async () => {
    const repository = join(folder, '../models--org--name');
    const snapshot = join(repository, 'snapshots/0123456789abcdef/adapters');
    mkdirSync(snapshot, { recursive: true });
    renameSync(folder, join(repository, 'blobs'));
    folder = join(snapshot, 'mine');
    mkdirSync(folder);
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) symlinkSync(`../../../../blobs/${name}`, join(folder, name));
    await load();
    folder = join(repository, '../mine');
  });

  it('passes on what is wrong with the tensors', async () => {
    writeFileSync(join(folder, 'adapter_model.safetensors'), 'no tensors at all');
    await expect(load()).rejects.toMatchObject({ code: 'ERR_HEDDLE_FILE' });
  });
});
