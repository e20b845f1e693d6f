import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { downloadModel, type HubOptions, type HubProgress, resolveModelFolder } from '../../lib/checkpoint/hub.js';
import { hubEnvironment, isHubId } from '../../lib/checkpoint/hub_cache.js';
import { openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { AbortError, FileAccessError, FileFormatError, OptionError } from '../../lib/errors.js';
import { failure } from './failure.js';
import { FakeHub, type FakeRepository, type Fault } from './fake_hub.js';

const root = mkdtempSync(join(tmpdir(), 'heddle-hub-'));
const hub = new FakeHub();
const sha = '0123456789abcdef0123456789abcdef01234567';
let endpoint: string;
let cacheFolder: string;
let repository: FakeRepository;
let weights: Buffer;

beforeAll(async () => {
  endpoint = await hub.start();
  const file = join(root, 'weights.safetensors');
  await writeSafetensors(file, [{ name: 'a', dtype: 'F32', shape: [100_000], data: new Float32Array(100_000).fill(2) }]);
  weights = readFileSync(file);
});
afterAll(async () => {
  await hub.stop();
  rmSync(root, { recursive: true });
});

let count = 0;
beforeEach(() => {
  cacheFolder = join(root, `cache-${count++}`);
  hub.requests.length = 0;
  repository = {
    sha,
    files: {
      'config.json': JSON.stringify({ model_type: 'llama', hidden_size: 8, num_attention_heads: 2 }),
      'tokenizer.json': '{}',
      'generation_config.json': '',
      'model.safetensors': weights,
      'README.md': '# not wanted',
      'pytorch_model.bin': 'not wanted',
      'onnx/model.onnx': 'not wanted',
    },
    large: ['model.safetensors'],
    faults: {},
  };
  hub.repositories['org/name'] = repository;
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const download = (options: HubOptions = {}): Promise<string> => downloadModel('org/name', { endpoint, cacheFolder, ...options });
const snapshot = (): string => join(cacheFolder, 'models--org--name', 'snapshots', sha);
const visible = (): string[] => {
  try {
    return readdirSync(snapshot()).sort();
  } catch {
    return [];
  }
};
const rubbish = (): string[] => {
  try {
    return readdirSync(cacheFolder, { recursive: true, encoding: 'utf8' }).filter((name) => /incomplete|tmp/.test(name));
  } catch {
    return [];
  }
};

describe('a download', () => {
  it('brings the wanted files into the standard layout', async () => {
    const folder = await download();
    expect(folder).toBe(snapshot());
    expect(visible()).toEqual(['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json']);
    const link = join(folder, 'model.safetensors');
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readlinkSync(link)).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(readFileSync(link).equals(weights)).toBe(true);
    expect(readFileSync(join(folder, 'generation_config.json'), 'utf8')).toBe('');
    expect(readFileSync(join(cacheFolder, 'models--org--name', 'refs', 'main'), 'utf8')).toBe(sha);
    expect(rubbish()).toEqual([]);
    rmSync(join(folder, 'generation_config.json'));
    using opened = await openHuggingFaceFolder(folder);
    expect(opened.name).toBe('org/name');
    expect(opened.tensors.info('a')?.shape).toEqual([100_000]);
  });

  it('takes what is there from the cache', async () => {
    await download();
    hub.requests.length = 0;
    const seen: HubProgress[] = [];
    await download({ onProgress: (progress) => seen.push(progress) });
    expect(hub.requests.filter((request) => request.includes('/resolve/'))).toEqual([]);
    expect(seen).toEqual([]);
  });

  it('reports progress up to the last byte', async () => {
    const seen: HubProgress[] = [];
    await download({ onProgress: (progress) => seen.push(progress) });
    const last = seen.at(-1);
    expect(last?.totalReceived).toBe(last?.totalBytes);
    expect(last?.totalBytes).toBeGreaterThan(weights.length);
    expect(seen.some(({ file, fileBytes }) => file === 'model.safetensors' && fileBytes === weights.length)).toBe(true);
    expect(seen.every(({ totalReceived }, i) => i === 0 || totalReceived >= (seen[i - 1]?.totalReceived ?? 0))).toBe(true);
  });

  it('of one model by two at once ends well for both', async () => {
    const [a, b] = await Promise.all([download(), download()]);
    expect(a).toBe(b);
    expect(readFileSync(join(a, 'model.safetensors')).equals(weights)).toBe(true);
    expect(rubbish()).toEqual([]);
  });

  it('by commit, and by a revision with a slash', async () => {
    expect(await download({ revision: sha })).toBe(snapshot());
    expect((await failure(download({ revision: 'refs/pr/1' }))).message).toContain('revision refs/pr/1');
    for (const revision of ['../x', 'a/../b', '', '/', 'a b']) expect(await failure(download({ revision }))).toBeInstanceOf(OptionError);
  });

  it('sends the token of the environment, and never shows it', async () => {
    repository.token = 'hf_secretsecret';
    const error = await failure(download());
    expect(error).toBeInstanceOf(FileAccessError);
    expect(error.message).toContain('Set HF_TOKEN');
    expect(error.details).toMatchObject({ status: 401 });
    vi.stubEnv('HF_TOKEN', 'hf_secretsecret');
    expect(await download()).toBe(snapshot());
    vi.stubEnv('HF_TOKEN', 'secretsecret');
    const wrong = await failure(download());
    expect(wrong).toBeInstanceOf(OptionError);
    expect(wrong.message).not.toContain('secretsecret');
  });
});

describe('what goes wrong', () => {
  const faults: [Fault, string, RegExp][] = [
    ['cut', 'ERR_HEDDLE_IO', /model\.safetensors: the download broke off after \d+ of \d+ bytes/],
    ['short', 'ERR_HEDDLE_IO', /model\.safetensors: the download has \d+ bytes, expected \d+/],
    ['long', 'ERR_HEDDLE_IO', /model\.safetensors: the download has more than \d+ bytes/],
    ['corrupt', 'ERR_HEDDLE_FILE', /model\.safetensors: what was downloaded has the hash/],
    ['missing', 'ERR_HEDDLE_IO', /model\.safetensors/],
    ['error', 'ERR_HEDDLE_IO', /model\.safetensors/],
  ];
  it.each(faults)('%s: nothing half-loaded is visible, and a second try succeeds', async (fault, code, message) => {
    repository.faults = { 'model.safetensors': fault };
    const error = await failure(download());
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(visible()).not.toContain('model.safetensors');
    expect(rubbish()).toEqual([]);
    expect((await failure(download({ offline: true }))).message).toContain('HF_HUB_OFFLINE');
    repository.faults = {};
    expect(readFileSync(join(await download(), 'model.safetensors')).equals(weights)).toBe(true);
  });

  it('small files are checked too', async () => {
    repository.faults = { 'config.json': 'corrupt' };
    expect((await failure(download())).message).toContain('config.json: what was downloaded has the hash');
    expect(visible()).not.toContain('config.json');
  });

  it('an abort stops even a stalled download', async () => {
    repository.faults = { 'model.safetensors': 'stall' };
    const controller = new AbortController();
    const begun = download({ signal: controller.signal, onProgress: ({ file }) => file === 'model.safetensors' && controller.abort() });
    expect(await failure(begun)).toBeInstanceOf(AbortError);
    expect(visible()).not.toContain('model.safetensors');
    expect(rubbish()).toEqual([]);
    expect(await failure(download({ signal: AbortSignal.abort() }))).toBeInstanceOf(AbortError);
  });

  it('an unknown model, and a server that is not there', async () => {
    const error = await failure(downloadModel('org/none', { endpoint, cacheFolder }));
    expect(error).toBeInstanceOf(FileAccessError);
    expect(error.message).toBe(`${endpoint} has no model org/none with revision main`);
    const closed = await failure(download({ endpoint: 'http://127.0.0.1:1' }));
    expect(closed).toBeInstanceOf(FileAccessError);
    expect(closed.message).toContain('cannot download org/name from http://127.0.0.1:1');
  });

  it('a hostile server cannot name files outside the cache', async () => {
    const entry = (path: string, oid = 'a'.repeat(40)) => ({ type: 'file', path, size: 1, oid });
    repository.extra = [entry('../config.json'), entry('/etc/config.json'), entry('..'), entry('a/config.json')];
    await download();
    expect(visible()).toEqual(['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json']);
    repository.extra = [entry('added_tokens.json', '../../../evil')];
    expect(await failure(download())).toBeInstanceOf(FileFormatError);
    repository.sha = '../../evil';
    expect((await failure(download())).message).toContain('is not a commit hash');
  });

  it('a repository without a configuration', async () => {
    delete repository.files['config.json'];
    expect((await failure(download())).message).toContain('has no config.json and no adapter_config.json');
  });
});

describe('offline', () => {
  it('uses the cache and asks nobody', async () => {
    await download();
    hub.requests.length = 0;
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await download()).toBe(snapshot());
    expect(await download({ revision: sha })).toBe(snapshot());
    const error = await failure(downloadModel('org/other', { endpoint, cacheFolder }));
    expect(error).toBeInstanceOf(FileAccessError);
    expect(error.message).toContain('org/other (main) is not in');
    expect(hub.requests).toEqual([]);
  });
});

it('without @huggingface/hub installed the error says how to install it', () => {
  // The real sources, compiled to a place that has no node_modules.
  const away = join(root, 'away/lib');
  const files = [
    'errors',
    'checkpoint/hub',
    'checkpoint/hub_blob',
    'checkpoint/hub_cache',
    'checkpoint/contained_path',
    'checkpoint/json',
    'checkpoint/json_syntax',
    'checkpoint/whole_file',
    'runtime/abort_signal',
  ];
  for (const folder of ['checkpoint', 'runtime']) mkdirSync(join(away, folder), { recursive: true });
  writeFileSync(join(root, 'away/package.json'), '{"type":"module"}');
  for (const file of files) {
    const source = readFileSync(join(import.meta.dirname, `../../lib/${file}.ts`), 'utf8');
    const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };
    writeFileSync(join(away, `${file}.js`), ts.transpileModule(source, { compilerOptions: options }).outputText);
  }
  const program = `import('${away}/checkpoint/hub.js').then((hub) => hub.downloadModel('org/name', { offline: false })).catch((e) => console.log(e.code, e.message))`;
  const output = execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' });
  expect(output).toContain('ERR_HEDDLE_OPTION');
  expect(output).toContain('npm install @huggingface/hub');
});

describe('names and places', () => {
  it('ids of the Hub', () => {
    for (const id of ['org/name', 'meta-llama/Llama-3.2-1B', 'a/b', 'x_1/y.z-2']) expect(isHubId(id), id).toBe(true);
    for (const id of [
      'name',
      './name',
      '../name',
      '/a/b',
      'a/b/c',
      'a/',
      '/b',
      'a/..',
      'a//b',
      'a b/c',
      'a--b/c',
      'a/b..c',
      '~/x',
      'a\\b/c',
      '',
    ])
      expect(isHubId(id), id).toBe(false);
  });

  it('environment variables, as Hugging Face reads them', () => {
    expect(hubEnvironment({ HOME: '/h' })).toMatchObject({ endpoint: 'https://huggingface.co', offline: false, token: undefined });
    expect(hubEnvironment({ HF_HOME: '/hf' }).cacheFolder).toBe('/hf/hub');
    expect(hubEnvironment({ XDG_CACHE_HOME: '/x' }).cacheFolder).toBe('/x/huggingface/hub');
    expect(hubEnvironment({ HF_HOME: '/hf', HF_HUB_CACHE: '/c' }).cacheFolder).toBe('/c');
    expect(hubEnvironment({ HF_ENDPOINT: 'http://mirror/' }).endpoint).toBe('http://mirror');
    for (const value of ['1', 'ON', 'yes', 'True']) expect(hubEnvironment({ HF_HUB_OFFLINE: value }).offline).toBe(true);
    for (const value of ['0', '', 'off']) expect(hubEnvironment({ HF_HUB_OFFLINE: value }).offline).toBe(false);
  });

  it('a folder of that name comes before the Hub', async () => {
    vi.stubEnv('HF_HUB_CACHE', cacheFolder);
    vi.stubEnv('HF_ENDPOINT', endpoint);
    expect(await resolveModelFolder('org/name')).toBe(snapshot());
    const here = join(root, 'here');
    mkdirSync(join(here, 'org/name'), { recursive: true });
    expect(realpathSync(await resolveModelFolder(join(here, 'org/name')))).toBe(realpathSync(join(here, 'org/name')));
    writeFileSync(join(here, 'file'), '');
    expect((await failure(resolveModelFolder(join(here, 'file')))).message).toContain('is a file');
    expect((await failure(resolveModelFolder(join(here, 'none')))).message).toContain('there is no folder');
  });
});
