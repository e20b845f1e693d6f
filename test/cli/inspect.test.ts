import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatBytes, formatDtypes, formatFacts, formatList, formatParameters } from '../../lib/cli/inspect_facts.js';
import { adapter, base, heddle, jsonLines, repository } from './run_cli.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-inspect-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function inspect(...words: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await heddle(['inspect', ...words, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const lines = jsonLines(stdout);
  expect(lines).toHaveLength(1);
  return lines[0] as Record<string, unknown>;
}

describe('heddle inspect', () => {
  it('a model folder', async () => {
    expect(await inspect(base)).toMatchObject({
      kind: 'model',
      name: 'base',
      architecture: 'llama',
      supported: true,
      parameters: 2_828_736,
      bytes: 5_657_472,
      dtypes: { BF16: 2_828_736 },
      layers: 6,
      hiddenSize: 192,
      heads: 6,
      keyHeads: 3,
      headWidth: 32,
      contextLength: 1024,
      vocabularySize: 2048,
      tiedEmbeddings: true,
      rope: { type: 'default', base: 10_000 },
      slidingWindow: null,
      tokenizer: { type: 'BPE', tokens: 2048 },
      chatTemplates: [],
      files: expect.arrayContaining([{ name: 'config.json', bytes: expect.any(Number) }]),
    });
    const { stdout } = await heddle(['inspect', base]);
    for (const line of [
      /^base: model\n/,
      /architecture +llama/,
      /parameters +2\.8 M \(2,828,736\)/,
      /heads +6 of 32, 3 of keys/,
      /context +1,024 tokens/,
      /tokenizer +BPE, 2,048 tokens/,
    ])
      expect(stdout).toMatch(line);
  });

  it('an adapter folder', async () => {
    expect(await inspect(adapter('poet'))).toMatchObject({
      kind: 'adapter',
      name: 'poet',
      supported: true,
      peftType: 'LORA',
      method: 'LoRA',
      base: 'storyteller/base',
      ranks: [8],
      alpha: 16,
      scales: [2],
      modules: 42,
      savedModules: [],
      parameters: 165_888,
      bytes: 663_552,
      targets: ['down_proj', 'gate_proj', 'k_proj', 'o_proj', 'q_proj', 'up_proj', 'v_proj'],
    });
    const { stdout } = await heddle(['inspect', adapter('poet')]);
    expect(stdout).toMatch(/^poet: adapter\n {2}kind +LoRA\n {2}base +storyteller\/base\n {2}rank +8\n {2}alpha +16\n {2}scale +2\n/);
  });

  it('an adapter and a model that cannot be loaded, as far as their files tell', async () => {
    const strange = join(folder, 'strange');
    cpSync(adapter('poet'), strange, { recursive: true });
    writeFileSync(join(strange, 'adapter_config.json'), '{"peft_type": "KNITTING", "base_model_name_or_path": "a/b"}');
    expect(await inspect(strange)).toMatchObject({
      kind: 'adapter',
      supported: false,
      peftType: 'KNITTING',
      base: 'a/b',
      parameters: 165_888,
      problem: { code: 'ERR_HEDDLE_ADAPTER' },
    });
    const other = join(folder, 'other');
    cpSync(base, other, { recursive: true });
    writeFileSync(join(other, 'config.json'), '{"model_type": "loom", "vocab_size": 2048, "hidden_size": 192}');
    expect(await inspect(other)).toMatchObject({
      kind: 'model',
      architecture: 'loom',
      supported: false,
      parameters: 2_828_736,
      problem: { code: 'ERR_HEDDLE_MODEL' },
    });
  });

  it('a safetensors file, the table bounded', async () => {
    const file = join(adapter('poet'), 'adapter_model.safetensors');
    const found = await inspect(file);
    expect(found).toMatchObject({
      kind: 'safetensors',
      tensors: 84,
      parameters: 165_888,
      dtypes: { F32: 165_888 },
      metadata: { format: 'pt' },
    });
    expect(found.list).toHaveLength(84);
    const { stdout } = await heddle(['inspect', file]);
    expect(stdout).toContain('… and 44 more: --all shows them');
    expect(stdout.match(/lora_[AB]\.weight/g)).toHaveLength(40);
    expect((await heddle(['inspect', file, '--all'])).stdout.match(/lora_[AB]\.weight/g)).toHaveLength(84);
  });

  it('a hostile safetensors file: the rule it breaks', async () => {
    const file = join(repository, 'test', 'fixtures', 'hostile', 'safetensors', 'overlap.safetensors');
    const { code, stdout, stderr } = await heddle(['inspect', file, '--json']);
    expect(stderr).toMatch(/^heddle: .*overlap\.safetensors: [^\n]+\n$/);
    expect(jsonLines(stdout)).toEqual([{ error: { code: 'ERR_HEDDLE_FILE', message: expect.any(String) } }]);
    expect(code).toBe(1);
  });

  it('a file of another kind: as what it was read', async () => {
    const file = join(base, 'config.json');
    const { code, stderr } = await heddle(['inspect', file]);
    expect(stderr).toMatch(/^heddle: .*config\.json, read as safetensors: header-limit: [^\n]+\n$/);
    expect(code).toBe(1);
  });

  it('this machine, without an argument', async () => {
    const found = await inspect();
    expect(found).toMatchObject({
      kind: 'device',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      node: process.version,
      binary: expect.stringMatching(/\.node$/),
      threads: expect.any(Number),
    });
    expect(found.targets).toContain(found.target);
    expect(found.targets).toContain('baseline');
    expect((await heddle(['inspect'])).stdout).toMatch(/^heddle \d.*\n {2}native binary +\//);
  });

  it('nothing that it knows: a clear error', async () => {
    mkdirSync(join(folder, 'empty'));
    const empty = await heddle(['inspect', join(folder, 'empty')]);
    expect(empty.stderr).toMatch(/neither a model nor an adapter: it has no config\.json and no adapter_config\.json\n$/);
    expect(empty.code).toBe(1);
    const missing = await heddle(['inspect', 'org/name'], { env: { HF_HUB_CACHE: folder } });
    expect(missing.stderr).toBe(`heddle: there is no file or folder org/name, and no model of that name in ${folder}\n`);
    expect(missing.code).toBe(1);
  });
});

describe('facts', () => {
  it('are shown without what steers a terminal, and bounded', () => {
    const text = formatFacts('a\x1b[2J', [
      ['name', `x\x1b]0;y\x07${'z'.repeat(1000)}`],
      ['none', undefined],
      ['count', 12_345],
    ]);
    expect(text).toBe(`a[2J\n  name   x]0;y${'z'.repeat(395)}…\n  count  12,345`);
  });

  it('say numbers as people do', () => {
    expect([12, 12_345, 2_828_736, 1_100_048_384, 163_000_000].map(formatParameters)).toEqual([
      '12',
      '12.3 k (12,345)',
      '2.8 M (2,828,736)',
      '1.1 B (1,100,048,384)',
      '163 M (163,000,000)',
    ]);
    expect(formatBytes(12)).toBe('12 B');
    expect(formatBytes(12_345)).toBe('12 kB (12,345 bytes)');
    expect(formatDtypes({ BF16: 980, F32: 19, I64: 1 }, 1000)).toBe('BF16 98 %, F32 2 %, I64 under 1 %');
    expect(formatDtypes({}, 0)).toBe('none');
    expect(formatList([])).toBeUndefined();
    expect(formatList([1, 2, 3], 2)).toBe('1, 2 and 1 more');
  });
});
