import { spawnSync } from 'node:child_process';
import { closeSync, cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { base, heddle, jsonLines, main, repository, toLines } from './run_cli.ts';

const long = ['generate', '-m', base, '--seed', '1', '-n', '1000'];

describe('Ctrl-C', () => {
  it('ends a stream at once with 130, and what was said stays', async () => {
    const { code, stdout, stderr, milliseconds } = await heddle([...long, '-p', 'The king said'], { act: (child) => child.kill('SIGINT') });
    expect(code).toBe(130);
    expect(stderr).toBe('heddle: interrupted\n');
    expect(stdout.endsWith('\n')).toBe(true);
    // The grace for what does not end by itself is 2 s; a busy machine takes longer to do anything.
    expect(milliseconds).toBeLessThan(15_000);
  });

  it('ends many requests with an object where JSON was asked for', async () => {
    const input = toLines([
      { prompt: 'The', maxTokens: 1 },
      ...Array.from({ length: 150 }, () => ({ prompt: 'The king', ignoreEos: true })),
    ]);
    const { code, stdout, stderr } = await heddle([...long, '-i', '-', '--json'], { input, act: (child) => child.kill('SIGINT') });
    expect(code).toBe(130);
    expect(jsonLines(stdout).at(-1)).toEqual({ error: { code: 'ABORT_ERR', message: 'interrupted' } });
    expect(stderr).toBe('heddle: interrupted\n');
  });
});

describe('a reader that leaves', () => {
  it('is no error', async () => {
    const input = toLines(Array.from({ length: 150 }, () => ({ prompt: 'The king', maxTokens: 100, ignoreEos: true })));
    const { code, stderr } = await heddle([...long, '-i', '-', '--json'], { input, act: (child) => child.stdout?.destroy() });
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('does not end a training', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-unread-'));
    const data = join(folder, 'notes.txt');
    writeFileSync(data, 'A line of text to learn from.\n'.repeat(40));
    const words = [
      'train',
      '-m',
      base,
      '-d',
      data,
      '-o',
      folder,
      '--steps',
      '2',
      '--batch-size',
      '1',
      '--max-length',
      '32',
      '--no-samples',
    ];
    const { code, stderr } = await heddle([...words, '--json'], { act: (child) => child.stdout?.destroy() });
    const saved = readdirSync(folder);
    rmSync(folder, { recursive: true });
    expect(stderr).toBe('');
    expect(saved).toEqual(expect.arrayContaining(['adapter_model.safetensors', 'checkpoint-2.safetensors', 'report.html']));
    expect(code).toBe(0);
  });
});

describe.skipIf(!existsSync('/dev/full'))('a full disk', () => {
  it.each([
    ['inspect', [base]],
    ['generate', ['-m', base, '-p', 'The king', '-n', '4', '-t', '0']],
  ])('ends %s with one message', async (command, words) => {
    const full = openSync('/dev/full', 'w');
    const { status, stderr } = spawnSync(process.execPath, [main, command, ...words], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    });
    closeSync(full);
    expect(stderr).toBe('heddle: cannot write standard output: no space left on the disk\n');
    expect(status).toBe(1);
  });
});

describe('heddle build', () => {
  let folder = '';
  let cli = '';
  // An installation whose native library is missing, with a compiler that only pretends.
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-build-'));
    for (const name of ['package.json', 'dist']) cpSync(join(repository, name), join(folder, name), { recursive: true });
    symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'));
    mkdirSync(join(folder, 'tools'));
    cli = join(folder, 'dist', 'lib', 'cli', 'main.js');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const compiler = (source: string): void => writeFileSync(join(folder, 'tools', 'build_native.cjs'), source);

  it('works without the native library', async () => {
    compiler("console.log('compiling');");
    const plain = await heddle(['build'], { cli });
    expect(plain).toMatchObject({ code: 0, stdout: 'compiling\n', stderr: '' });
    const json = await heddle(['build', '--json'], { cli });
    expect(json).toMatchObject({ code: 0, stderr: 'compiling\n' });
    expect(jsonLines(json.stdout)).toEqual([{ built: true, file: join(folder, 'build', 'Release', 'heddle.node') }]);
  });

  it('fails with the compiler', async () => {
    compiler("console.error('cmake not found'); process.exitCode = 1;");
    const { code, stdout, stderr } = await heddle(['build', '--json'], { cli });
    expect(code).toBe(1);
    expect(stderr).toBe('cmake not found\nheddle: the native library could not be compiled (its output is above)\n');
    expect(jsonLines(stdout)).toEqual([{ error: { code: 'ERR_HEDDLE_DEVICE', message: expect.any(String) } }]);
  });

  it('is what other commands ask for where the native library is missing', async () => {
    const { code, stderr } = await heddle(['inspect'], { cli });
    expect(stderr).toMatch(/no native binary that loads/);
    expect(stderr).toContain('npx heddle build');
    expect(code).toBe(1);
  });
});
