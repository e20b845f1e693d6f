// Models with an adapter merged in as folders: what they compute, what they hold, what is refused.
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { AdapterError, loadModel, mergeFolder, OptionError } from '../../lib/index.js';
import { heddle, jsonLines } from '../cli/run_cli.js';
import { adapterFolder, expectedScores, largestError, modelFolder, readTensors, storyteller } from '../models/fixture_files.js';
import { scratchFolder, writeTensors } from '../models/write_fixture.js';
import { rejection } from './driving.js';

const llama = modelFolder('llama');
const tokens = expectedScores(llama)[0]?.tokens as number[];

async function scoreOf(folder: string, adapter?: string): Promise<readonly (number | null)[]> {
  using model = await loadModel(folder, adapter === undefined ? {} : { adapters: { own: adapter } });
  return (await model.score({ tokens, adapter: adapter === undefined ? undefined : 'own' })).logprobs;
}

describe('mergeFolder', () => {
  it.each(['lora-all-r3', 'lora-embeddings-head', 'lora-modules-to-save', 'lora-dora', 'oft'])('writes what %s computes', async (name) => {
    using scratch = scratchFolder();
    const output = join(scratch.path, 'merged');
    const progress: number[] = [];
    const merged = await mergeFolder({
      model: llama,
      adapter: adapterFolder(name),
      output,
      onProgress: ({ bytes, totalBytes }) => progress.push(bytes / totalBytes),
    });
    expect(progress.at(-1)).toBe(1);
    const wanted = await scoreOf(llama, adapterFolder(name));
    expect(largestError(await scoreOf(output), wanted.slice(1) as number[])).toBeLessThan(5e-5);
    const before = readTensors(join(llama, 'model.safetensors'));
    const after = readTensors(join(output, 'model.safetensors'));
    expect(Object.keys(after).sort()).toEqual(Object.keys(before).sort());
    const differs = (tensor: string): boolean => {
      const [was, is] = [before[tensor], after[tensor]].map((one) => Array.from(one?.data ?? []));
      return was?.some((value, i) => value !== is?.[i]) ?? true;
    };
    const changed = Object.keys(before).filter(differs);
    expect(merged).toMatchObject({ folder: output, changedTensors: changed.length, tensors: Object.keys(before).length });
    expect(readFileSync(join(output, 'config.json'))).toEqual(readFileSync(join(llama, 'config.json')));
  });

  it('keeps the shards of a large model, and its index', async () => {
    using scratch = scratchFolder();
    const sharded = join(scratch.path, 'sharded');
    mkdirSync(sharded);
    copyFileSync(join(llama, 'config.json'), join(sharded, 'config.json'));
    const tensors = Object.entries(readTensors(join(llama, 'model.safetensors')));
    const map: Record<string, string> = {};
    for (const part of [0, 1]) {
      const file = `model-0000${part + 1}-of-00002.safetensors`;
      const own = tensors.filter((_, i) => i % 2 === part);
      writeTensors(join(sharded, file), Object.fromEntries(own));
      for (const [name] of own) map[name] = file;
    }
    writeFileSync(join(sharded, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
    writeFileSync(join(sharded, 'pytorch_model.bin'), 'old weights');
    const output = join(scratch.path, 'merged');
    await mergeFolder({ model: sharded, adapter: adapterFolder('lora'), output, scale: 0.5 });
    expect(readdirSync(output).sort()).toEqual([
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ]);
    using model = await loadModel(llama, { adapters: { own: adapterFolder('lora') } });
    const { logprobs } = await model.score({ tokens, adapter: { name: 'own', scale: 0.5 } });
    expect(largestError(await scoreOf(output), logprobs.slice(1) as number[])).toBeLessThan(5e-5);
  });

  it('refuses outputs that hold something, and adapters that cannot be merged', async () => {
    using scratch = scratchFolder();
    const output = join(scratch.path, 'merged');
    const bias = await rejection(mergeFolder({ model: llama, adapter: adapterFolder('lora-bias'), output }));
    expect(bias).toBeInstanceOf(AdapterError);
    expect(bias.message).toMatch(/^lora-bias cannot be merged: it adds a bias/);
    expect(existsSync(output)).toBe(false);
    mkdirSync(output);
    writeFileSync(join(output, 'mine.txt'), 'mine');
    const full = await rejection(mergeFolder({ model: llama, adapter: adapterFolder('lora'), output }));
    expect(full).toBeInstanceOf(OptionError);
    expect(full.message).toMatch(/which holds mine\.txt: expected an empty folder/);
    expect(readdirSync(output)).toEqual(['mine.txt']);
    const same = await rejection(mergeFolder({ model: llama, adapter: adapterFolder('lora'), output: llama }));
    expect(same.message).toMatch(/output is the folder of the model/);
  });

  it.each([
    [{ scal: 2 }, /^mergeFolder has no option 'scal': did you mean 'scale'\?$/],
    [{ scale: '2' }, /^mergeFolder\.scale is "2": /],
    [{ scale: Number.NaN }, /^mergeFolder\.scale is NaN: /],
    [{ output: undefined }, /^mergeFolder\.output is undefined: /],
    [{ signal: {} }, /^mergeFolder\.signal is \{\}: expected an AbortSignal$/],
    [undefined, /^mergeFolder is undefined: /],
  ])('refuses %j before it writes anything', async (change, message) => {
    using scratch = scratchFolder();
    const output = join(scratch.path, 'merged');
    const options = change && { model: llama, adapter: adapterFolder('lora'), output, ...change };
    const error = await rejection(mergeFolder(options as never));
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toMatch(message);
    expect(existsSync(output)).toBe(false);
  });

  it('ends when it is told to, without a folder that looks whole', async () => {
    using scratch = scratchFolder();
    const output = join(scratch.path, 'merged');
    const stop = new AbortController();
    const onProgress = (): void => stop.abort();
    const error = await rejection(mergeFolder({ model: llama, adapter: adapterFolder('lora'), output, signal: stop.signal, onProgress }));
    expect(error.name).toBe('AbortError');
    expect(readdirSync(scratch.path)).toEqual([]);
  });

  it('leaves a folder that was there empty when it fails on the way, and works again', async () => {
    using scratch = scratchFolder();
    const { model, output } = { model: join(scratch.path, 'model'), output: join(scratch.path, 'merged') };
    cpSync(llama, model, { recursive: true });
    mkdirSync(output);
    writeFileSync(join(model, 'notes.txt'), 'notes');
    const options = { model, adapter: adapterFolder('lora'), output };
    // What is copied once the weights are written is not there any more.
    const failed = await rejection(mergeFolder({ ...options, onProgress: () => rmSync(join(model, 'notes.txt'), { force: true }) }));
    expect(failed).toMatchObject({ code: 'ERR_HEDDLE_IO', message: expect.stringMatching(/^cannot copy .*notes\.txt: no such file$/) });
    expect(readdirSync(output)).toEqual([]);
    await mergeFolder(options);
  });

  it('refuses a link that leads out of the model before it writes, and passes over one that leads nowhere', async () => {
    using scratch = scratchFolder();
    const { model, output } = { model: join(scratch.path, 'model'), output: join(scratch.path, 'a/b/merged') };
    cpSync(llama, model, { recursive: true });
    symlinkSync('nowhere', join(model, 'README.md'));
    symlinkSync('config.json', join(model, 'same.json'));
    const options = { model, adapter: adapterFolder('lora'), output };
    await mergeFolder(options);
    expect(readdirSync(output).sort()).toEqual(['config.json', 'generation_config.json', 'model.safetensors', 'same.json']);
    writeFileSync(join(scratch.path, 'secret.txt'), 'secret');
    symlinkSync('../secret.txt', join(model, 'secret.json'));
    const written: number[] = [];
    const other = { ...options, output: join(scratch.path, 'c/d'), onProgress: ({ bytes }: { bytes: number }) => written.push(bytes) };
    const error = await rejection(mergeFolder(other));
    expect(error).toMatchObject({ code: 'ERR_HEDDLE_FILE', details: { rule: 'link-outside' } });
    expect(error.message).toMatch(/"secret\.json" is a link that leads out of the folder/);
    expect(written).toEqual([]);
    expect(existsSync(join(scratch.path, 'c'))).toBe(false);
  });
});

describe('heddle merge', () => {
  it('writes a folder that other commands take, in the dtype of the model', async () => {
    using scratch = scratchFolder();
    const output = join(scratch.path, 'poet');
    const words = ['merge', '--model', storyteller.base, '--adapter', storyteller.adapter('poet'), '--output', output, '--json'];
    const { code, stdout, stderr } = await heddle(words);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const [said] = jsonLines(stdout);
    expect(said).toMatchObject({ folder: output });
    expect(existsSync(join(output, 'tokenizer.json'))).toBe(true);
    const [source, merged] = await Promise.all(
      [storyteller.base, output].map((folder) => openSafetensors(join(folder, 'model.safetensors'))),
    );
    for (const name of source?.names() ?? []) expect(merged?.info(name)?.dtype, name).toBe(source?.info(name)?.dtype);
    source?.dispose();
    merged?.dispose();
    const scores = await heddle(['score', '--model', output, '--input', '-', '--json'], { input: '{"text":"Once upon a time"}\n' });
    expect(scores.code).toBe(0);
    const again = await heddle(words);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/expected an empty folder/);
  });

  it('says what is missing', async () => {
    const { code, stderr } = await heddle(['merge', '--model', 'x', '--adapter', 'y']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^heddle merge: --output is missing/);
  });
});
