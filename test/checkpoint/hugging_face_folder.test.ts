import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { pathInside } from '../../lib/checkpoint/contained_path.js';
import { modelName, openCheckpoint, openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { FileFormatError, ModelError } from '../../lib/errors.js';
import { failure } from './failure.js';

const root = mkdtempSync(join(tmpdir(), 'heddle-folder-'));
afterAll(() => rmSync(root, { recursive: true }));

const config = {
  model_type: 'llama',
  hidden_size: 8,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  vocab_size: 32,
  eos_token_id: [2, 3],
};

let count = 0;
function folder(files: Record<string, unknown> = {}): string {
  const path = join(root, `model-${count++}`);
  mkdirSync(path);
  for (const [name, value] of Object.entries(files))
    writeFileSync(join(path, name), typeof value === 'string' ? value : JSON.stringify(value));
  return path;
}

const shard = (path: string, names: string[]): Promise<void> =>
  writeSafetensors(
    path,
    names.map((name, i) => ({ name, dtype: 'F32', shape: [2], data: Float32Array.of(i, names.length) })),
  );

const index = (map: Record<string, string>): Record<string, unknown> => ({
  'model.safetensors.index.json': { metadata: {}, weight_map: map },
});

describe('a model folder', () => {
  it('with one file', async () => {
    const path = folder({ 'config.json': config, 'generation_config.json': { eos_token_id: 9 } });
    await shard(join(path, 'model.safetensors'), ['a', 'b']);
    using opened = await openHuggingFaceFolder(path);
    expect(opened.config.eosTokenIds).toEqual([2, 3]);
    expect(opened.generationConfig).toEqual({ eos_token_id: 9 });
    expect([...opened.tensors.names()].sort()).toEqual(['a', 'b']);
    expect(new Float32Array(await opened.tensors.read('b'))).toEqual(Float32Array.of(1, 2));
    expect((await failure(opened.tensors.read('c'))).message).toContain('no tensor "c"');
  });

  it('with an index and shards', async () => {
    const path = folder({ 'config.json': config, ...index({ a: 'one.safetensors', b: 'two.safetensors', c: 'two.safetensors' }) });
    await shard(join(path, 'one.safetensors'), ['a']);
    await shard(join(path, 'two.safetensors'), ['b', 'c']);
    using tensors = await openCheckpoint(path);
    expect(tensors.files).toHaveLength(2);
    expect(tensors.fileOf('c')).toBe(tensors.fileOf('b'));
    expect(new Float32Array(await tensors.read('c'))).toEqual(Float32Array.of(1, 2));
  });

  it('without weights, or with weights that can hold code', async () => {
    expect((await failure(openCheckpoint(folder()))).message).toContain('neither model.safetensors nor');
    const error = await failure(openCheckpoint(folder({ 'pytorch_model.bin': '' })));
    expect(error).toBeInstanceOf(ModelError);
    expect(error.message).toContain('can hold code and is not read');
  });

  it('that is none', async () => {
    expect((await failure(openHuggingFaceFolder(folder()))).message).toContain('has no config.json');
    expect((await failure(openHuggingFaceFolder(folder({ 'adapter_config.json': {} })))).message).toContain(
      'it is an adapter, not a model',
    );
    expect((await failure(openHuggingFaceFolder(join(root, 'nowhere')))).code).toBe('ERR_HEDDLE_MODEL');
  });
});

describe('an index', () => {
  const refused = async (map: unknown, rule: string, text: string, shards: Record<string, string[]> = {}): Promise<void> => {
    const path = folder({ 'model.safetensors.index.json': map });
    for (const [name, tensors] of Object.entries(shards)) await shard(join(path, name), tensors);
    const error = await failure(openCheckpoint(path));
    expect(error).toBeInstanceOf(FileFormatError);
    expect(error.details.rule).toBe(rule);
    expect(error.message).toContain(text);
  };
  const map = (weight_map: Record<string, unknown>) => ({ weight_map });

  it('that is wrong is refused', async () => {
    await refused([], 'weight-map', 'weight_map');
    await refused({}, 'weight-map', 'weight_map');
    await refused(map({}), 'weight-map', 'empty');
    await refused(map({ a: 1 }), 'weight-map', 'weight_map');
    await refused(
      map(Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`t${i}`, `s${i}.safetensors`]))),
      'weight-map',
      '5000 files',
    );
  });

  it('that lists what is not there is refused', async () => {
    await refused(map({ a: 'none.safetensors' }), 'missing-shard', '"none.safetensors" is listed but not in the folder');
    await refused(map({ a: 'one.safetensors', b: 'one.safetensors' }), 'missing-tensor', 'tensor "b" is listed in "one.safetensors"', {
      'one.safetensors': ['a'],
    });
    const both = { 'one.safetensors': ['a'], 'two.safetensors': ['b'] };
    await refused(map({ b: 'one.safetensors', c: 'two.safetensors' }), 'missing-tensor', 'is in two.safetensors', both);
    await refused(map({ a: 'one.safetensors', b: 'two.safetensors' }), 'duplicate-name', 'tensor "a" is in both', {
      'one.safetensors': ['a'],
      'two.safetensors': ['a', 'b'],
    });
  });

  it('never leads out of the folder', async () => {
    await shard(join(root, 'secret.safetensors'), ['a']);
    const names = [
      '../secret.safetensors',
      '/etc/passwd',
      join(root, 'secret.safetensors'),
      'sub/x.safetensors',
      '..',
      '.',
      '',
      'a\\b.safetensors',
    ];
    names.push(
      'C:x.safetensors',
      'a\0.safetensors',
      `${'n'.repeat(300)}.safetensors`,
      'weights.bin',
      'x/../../secret.safetensors',
      'a\n.safetensors',
    );
    for (const name of names) await refused(map({ a: name }), 'plain-name', 'is not the name of a safetensors file in this folder');
  });
});

describe('links', () => {
  it('that leave the folder are refused, wherever they are met', async () => {
    const outside = join(root, 'outside');
    mkdirSync(outside);
    await shard(join(outside, 'model.safetensors'), ['a']);
    writeFileSync(join(outside, 'config.json'), JSON.stringify(config));
    for (const name of ['model.safetensors', 'config.json']) {
      const path = folder({ 'config.json': config });
      rmSync(join(path, name), { force: true });
      symlinkSync(join(outside, name), join(path, name));
      const error = await failure(openHuggingFaceFolder(path));
      expect(error).toBeInstanceOf(FileFormatError);
      expect(error.details.rule).toBe('link-outside');
    }
    // A folder whose name merely begins like the model's is outside too.
    const path = folder();
    mkdirSync(`${path}-other`);
    writeFileSync(join(`${path}-other`, 'x'), '');
    symlinkSync(join(`${path}-other`, 'x'), join(path, 'x'));
    expect((await failure(pathInside(path, 'x'))).details.rule).toBe('link-outside');
  });

  it('inside the folder, and to the folder itself, are followed', async () => {
    const path = folder();
    await shard(join(path, 'real.safetensors'), ['a']);
    symlinkSync('real.safetensors', join(path, 'model.safetensors'));
    symlinkSync(path, join(root, 'alias'));
    (await openCheckpoint(join(root, 'alias'))).dispose();
    symlinkSync('nowhere', join(path, 'dangling'));
    expect(await pathInside(path, 'dangling')).toBeUndefined();
    symlinkSync('round', join(path, 'round'));
    expect((await failure(pathInside(path, 'round'))).code).toBe('ERR_HEDDLE_IO');
  });

  it('of the Hugging Face cache are followed inside their repository only', async () => {
    const hub = join(root, 'hub');
    const repository = join(hub, 'models--org--name');
    const snapshot = join(repository, 'snapshots', '0123456789abcdef');
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(join(repository, 'blobs'));
    await shard(join(repository, 'blobs', 'cafe'), ['a']);
    writeFileSync(join(repository, 'blobs', 'beef'), JSON.stringify(config));
    symlinkSync('../../blobs/cafe', join(snapshot, 'model.safetensors'));
    symlinkSync('../../blobs/beef', join(snapshot, 'config.json'));
    using opened = await openHuggingFaceFolder(snapshot);
    expect(opened.name).toBe('org/name');
    expect([...opened.tensors.names()]).toEqual(['a']);
    const other = join(hub, 'models--org--other', 'blobs');
    mkdirSync(other, { recursive: true });
    cpSync(join(repository, 'blobs', 'beef'), join(other, 'beef'));
    symlinkSync('../../../models--org--other/blobs/beef', join(snapshot, 'generation_config.json'));
    expect((await failure(openHuggingFaceFolder(snapshot))).details.rule).toBe('link-outside');
  });
});

it('names of models', () => {
  expect(modelName('/a/b/my-model')).toBe('my-model');
  expect(modelName('/cache/models--meta-llama--Llama-3.2-1B/snapshots/abc')).toBe('meta-llama/Llama-3.2-1B');
});
