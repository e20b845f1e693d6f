import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adapter, base, heddle, jsonLines } from './run_cli.ts';

const generate = ['generate', '--model', base];

describe('wrong usage', () => {
  const cases: [name: string, words: string[], message: RegExp][] = [
    ['an unknown command', ['generte'], /^heddle: unknown command 'generte' \(Did you mean generate\?\) See heddle --help\n$/],
    [
      'an unknown option',
      ['generate', '--modle', 'x'],
      /^heddle generate: unknown option '--modle' \(Did you mean --model\?\) See heddle generate --help\n$/,
    ],
    ['no model', ['score', '--input', '-'], /^heddle score: --model is missing\. See/],
    ['no input', ['score', '--model', base], /--input is missing/],
    ['neither prompt nor input', generate, /give --prompt or --input/],
    ['prompt and input', [...generate, '-p', 'x', '-i', '-'], /only one of --prompt and --input/],
    ['an adapter without a folder', [...generate, '-p', 'x', '-a', 'poet'], /'poet' is invalid\. Expected NAME=FOLDER\./],
    ['an adapter twice', [...generate, '-p', 'x', '-a', 'a=x', '-a', 'a=y'], /two adapters named 'a'/],
    [
      'an adapter that is not given',
      [...generate, '-p', 'x', '-a', `poet=${adapter('poet')}`, '-u', 'pote'],
      /--use names 'pote', given with --adapter: poet\. Did you mean 'poet'\?/,
    ],
    [
      'a precision that does not exist',
      [...generate, '-p', 'x', '--precision', 'exact'],
      /'exact' is invalid\. Allowed choices are fast, precise\./,
    ],
    [
      'a seed that no number holds',
      [...generate, '-p', 'x', '--seed', '9007199254740993'],
      /Expected a whole number, 0 to 9007199254740991\./,
    ],
    ['what steers a terminal', ['gen\u001b[31m'], /^heddle: unknown command 'gen\[31m'\. See heddle --help\n$/],
    ['no threads', [...generate, '-p', 'x', '--threads', '0'], /'0' is invalid\. Expected a whole number, 1 to 1024\./],
    ['a temperature that is no number', [...generate, '-p', 'x', '-t', 'warm'], /'warm' is invalid\. Expected a number, 0 to 100\./],
    ['an amount of memory that is none', [...generate, '-p', 'x', '--pool', '4 cows'], /Expected bytes, such as 512MB or 4GiB\./],
  ];

  it.each(cases)('%s: exit code 2 and one line', async (_, words, message) => {
    const { code, stdout, stderr } = await heddle(words);
    expect(stderr).toMatch(message);
    expect(stderr.trim()).not.toContain('\n');
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('is an object on standard output with --json', async () => {
    const { code, stdout, stderr } = await heddle(['generate', '--modle', 'x', '--json']);
    expect(jsonLines(stdout)).toEqual([
      { error: { code: 'ERR_HEDDLE_OPTION', message: "unknown option '--modle' (Did you mean --model?)" } },
    ]);
    expect(stderr).toContain('--modle');
    expect(code).toBe(2);
  });
});

describe('help', () => {
  it('lists the commands, examples and exit codes', async () => {
    const { code, stdout, stderr } = await heddle(['--help']);
    for (const text of ['demo', 'generate', 'score', 'train', 'inspect', 'build', 'Examples:', '130 interrupted'])
      expect(stdout).toContain(text);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('is printed, with exit code 2, where no command is given', async () => {
    const { code, stderr } = await heddle([]);
    expect(stderr).toContain('Usage: heddle');
    expect(code).toBe(2);
  });

  it.each(['demo', 'generate', 'score', 'train', 'inspect', 'build'])('explains %s', async (name) => {
    const { code, stdout } = await heddle([name, '--help']);
    expect(stdout).toContain(`Usage: heddle ${name}`);
    expect(stdout).toContain('--json');
    expect(stdout).not.toContain('{}');
    expect(code).toBe(0);
  });
});

describe('models that cannot be loaded', () => {
  const cases: [name: string, model: string, code: string, message: RegExp][] = [
    ['no such folder', './nowhere', 'ERR_HEDDLE_IO', /no folder \.\/nowhere/],
    ['an adapter', adapter('poet'), 'ERR_HEDDLE_MODEL', /it is an adapter, not a model/],
    ['a file', `${base}/config.json`, 'ERR_HEDDLE_OPTION', /is a file: expected a model folder or org\/name/],
    ['an id that is not here, offline', 'org/name', 'ERR_HEDDLE_IO', /no folder org\/name here.*Hub.*HF_HUB_OFFLINE/],
  ];

  it.each(cases)('%s: exit code 1 and a clear line', async (_, model, code, message) => {
    const outcome = await heddle(['generate', '-m', model, '-p', 'x', '--json'], { env: { HF_HUB_OFFLINE: '1' } });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(message);
    expect(outcome.stderr).toMatch(/^heddle: [^\n]*\n$/);
    expect(jsonLines(outcome.stdout)).toEqual([{ error: { code, message: expect.stringMatching(message) } }]);
  });

  it('an adapter with a name that no record holds', async () => {
    const { code, stderr } = await heddle(['generate', '-m', base, '-a', `__proto__=${adapter('poet')}`, '-p', 'x']);
    expect(stderr).toBe("heddle: loadModel.adapters has the key '__proto__': expected another name\n");
    expect(code).toBe(1);
  });

  it('a name from a file that steers a terminal', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-usage-'));
    writeFileSync(join(folder, 'config.json'), '{"model_type": "x\\u001b[31m"}');
    const { code, stderr } = await heddle(['generate', '-m', folder, '-p', 'x']);
    rmSync(folder, { recursive: true });
    expect(stderr).toMatch(/^heddle: .*model_type is "x\[31m": [^\n]+\n$/);
    expect(code).toBe(1);
  });

  it('an id where the Hub cannot be reached', async () => {
    const { code, stderr } = await heddle(['generate', '-m', 'org/name', '-p', 'x'], {
      env: { HF_ENDPOINT: 'http://127.0.0.1:9', HF_HUB_OFFLINE: '' },
    });
    expect(stderr).toMatch(/no folder org\/name here.*cannot download org\/name from http:\/\/127\.0\.0\.1:9/);
    expect(code).toBe(1);
  });
});
