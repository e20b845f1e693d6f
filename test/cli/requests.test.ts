import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adapter, base, heddle, jsonLines, repository, toLines } from './run_cli.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-cli-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const expected = JSON.parse(readFileSync(join(repository, 'test', 'fixtures', 'storyteller', 'expected.json'), 'utf8')) as {
  greedy: Record<string, Record<string, { tokens: number[]; text: string; top2_gap: number }>>;
};
const names = ['playwright', 'poet', 'cynic', 'detective', 'president'];
const adapters = names.flatMap((name) => ['--adapter', `${name}=${adapter(name)}`]);

describe('heddle generate', () => {
  it('answers requests of a file with their adapters in shared steps, in order', async () => {
    const prompt = 'My dear friend,';
    const requests = ['base', ...names].map((name) => ({
      id: name,
      prompt,
      maxTokens: 24,
      temperature: 0,
      ...(name === 'base' ? {} : { adapter: name }),
    }));
    const file = join(folder, 'requests.jsonl');
    writeFileSync(file, `\ufeff${toLines(requests)}\n\n`);
    const { code, stdout, stderr } = await heddle(['generate', '-m', base, ...adapters, '-i', file, '--json']);
    expect(stderr).toBe('');
    const lines = jsonLines(stdout);
    expect(lines.map((line) => line.id ?? 'stats')).toEqual(['base', ...names, 'stats']);
    const stats = lines.at(-1)?.stats as Record<string, number>;
    expect(stats).toMatchObject({ steps: expect.any(Number), tokens: expect.any(Number) });
    // Prompts are encoded one after the other: the first may end before the last begins.
    expect(stats.maxAdaptersInStep).toBeGreaterThan(1);
    expect(stats.maxRequestsInStep).toBeGreaterThan(1);
    for (const line of lines.slice(0, -1)) {
      expect(line).toMatchObject({
        adapter: line.id === 'base' ? null : line.id,
        finishReason: 'length',
        tokens: expect.any(Array),
        text: expect.any(String),
      });
      const known = expected.greedy[line.id as string]?.[prompt];
      // Where two tokens are about as likely, rounding decides.
      if (known !== undefined && known.top2_gap > 0.02) expect(line.text).toBe(known.text);
    }
    expect(code).toBe(0);
  });

  it('streams one prompt to standard output and takes its options', async () => {
    const words = ['generate', '-m', base, '-a', `poet=${adapter('poet')}`, '-u', 'poet', '-p', 'My dear friend,', '-n', '24', '-t', '0'];
    const { code, stdout, stderr } = await heddle(words);
    expect(stdout).toMatch(/^\n {2}I have not been/);
    expect(stdout.endsWith('\n')).toBe(true);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const [answer] = jsonLines((await heddle([...words, '--json'])).stdout);
    expect(answer).toMatchObject({ id: '1', adapter: 'poet', finishReason: 'length' });
    expect(`${answer?.text}\n`).toBe(stdout);
  });

  it('takes options of the command line as defaults, and seeds', async () => {
    const input = toLines([{ prompt: 'The king' }, { prompt: 'The king' }, { prompt: 'The king', maxTokens: 3, seed: 4 }]);
    const words = ['generate', '-m', base, '-i', '-', '--json', '-n', '12', '--seed', '3'];
    const lines = jsonLines((await heddle(words, { input })).stdout);
    expect(lines.map((line) => (line.tokens as number[] | undefined)?.length)).toEqual([12, 12, 3, undefined]);
    expect(lines[0]?.tokens).toEqual(lines[1]?.tokens);
    expect(lines.map((line) => line.id)).toEqual(['1', '2', '3', undefined]);
  });

  it('fails a bad request alone, with file and line, and ends with 1', async () => {
    const file = join(folder, 'bad.jsonl');
    const requests = [
      { id: 'fine', prompt: 'The king', maxTokens: 2 },
      { prompt: 'x', maxToken: 5 },
      { prompt: 'x', adapter: 'poets' },
      { tokens: [99_999] },
      { id: 7, prompt: 'The end', maxTokens: 2 },
    ];
    writeFileSync(file, toLines(requests));
    const { code, stdout, stderr } = await heddle(['generate', '-m', base, '-a', `poet=${adapter('poet')}`, '-i', file, '--json']);
    const lines = jsonLines(stdout);
    expect(lines).toHaveLength(6);
    expect(lines[0]).toMatchObject({ id: 'fine', finishReason: 'length' });
    expect(lines[4]).toMatchObject({ id: '7', finishReason: 'length' });
    const problems = lines.slice(1, 4).map((line) => line.error as { code: string; message: string });
    expect(problems.map((problem) => problem.code)).toEqual(['ERR_HEDDLE_OPTION', 'ERR_HEDDLE_MISSING_ADAPTER', 'ERR_HEDDLE_OPTION']);
    expect(problems[0]?.message).toBe(`${file}:2: the request has no option 'maxToken': did you mean 'maxTokens'?`);
    for (const problem of problems) expect(stderr).toContain(`heddle: ${problem.message}\n`);
    expect(stderr.trim().split('\n')).toHaveLength(3);
    expect(code).toBe(1);
  });

  it('takes null for what is not given, and says what it expected of the rest', async () => {
    const input = toLines([
      { id: null, prompt: 'The king', adapter: null, maxTokens: 2 },
      { id: ['b'], prompt: 'x' },
      { prompt: 'x', adapter: 'peot' },
      { prompt: 'x', adapter: { nam: 'poet' } },
    ]);
    const { code, stdout } = await heddle(['generate', '-m', base, '-a', `poet=${adapter('poet')}`, '-i', '-', '--json'], { input });
    const [first, ...others] = jsonLines(stdout).slice(0, -1);
    expect(first).toMatchObject({ id: '1', adapter: null, finishReason: 'length' });
    expect(others.map(({ id, error }) => [id, (error as { message: string }).message])).toEqual([
      ['2', 'standard input:2: the request.id is ["b"]: expected a string or a number'],
      ['3', "standard input:3: no adapter named 'peot' is loaded: loaded are poet. Did you mean 'poet'?"],
      ['4', expect.stringContaining('the request.adapter.name is undefined')],
    ]);
    expect(code).toBe(1);
  });

  it('fails a request alone that is nested deeper than a stack', async () => {
    const deep = '['.repeat(20_000) + ']'.repeat(20_000);
    const fields = [`"adapter":${deep}`, `"prompt":${deep}`, `"stop":${deep}`, `"logitBias":${deep}`, '"maxTokens":1'];
    const input = fields.map((field) => `{"tokens":[3],${field}}\n`).join('');
    const { code, stdout, stderr } = await heddle(['generate', '-m', base, '-i', '-', '--json'], { input });
    const lines = jsonLines(stdout).slice(0, -1);
    expect(lines.map(({ error }) => (error as { code: string } | undefined)?.code)).toEqual([
      ...Array(4).fill('ERR_HEDDLE_OPTION'),
      undefined,
    ]);
    expect(lines[0]?.adapter).toMatch(/^\[ \[.{1,40}$/);
    expect(lines[4]).toMatchObject({ adapter: null, finishReason: 'length' });
    expect(stderr.trim().split('\n')).toHaveLength(4);
    expect(code).toBe(1);
  });

  it('refuses a file that is no JSONL before it loads anything', async () => {
    const { code, stdout, stderr } = await heddle(['generate', '-m', base, '-i', '-', '--json'], { input: '{"prompt":"x"}\nprompt: y\n' });
    expect(stderr).toMatch(/^heddle: standard input:2 is no JSON: [^\n]*\n$/);
    expect(jsonLines(stdout)).toEqual([{ error: { code: 'ERR_HEDDLE_OPTION', message: expect.stringContaining('standard input:2') } }]);
    expect(code).toBe(1);
  });

  it('takes what JSON may have in a line: separators of Unicode, CRLF, no end', async () => {
    const prompts = ['The\u2028king', 'The\u2029king', 'The\u0085king'];
    const input = `\ufeff${prompts.map((prompt) => JSON.stringify({ prompt, maxTokens: 1 })).join('\r\n')}`;
    const { code, stdout, stderr } = await heddle(['generate', '-m', base, '-i', '-', '--json'], { input });
    expect(stderr).toBe('');
    expect(jsonLines(stdout).map((line) => line.id)).toEqual(['1', '2', '3', undefined]);
    expect(code).toBe(0);
  });

  it.each([
    ['is not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'the line is not UTF-8 text'],
    ['is too long', Buffer.alloc(64 * 2 ** 20, 'x'), `the line has ${64 * 2 ** 20 + 11} bytes: expected at most ${64 * 2 ** 20}`],
  ])('refuses a file with a line that %s, and names the line', async (_, prompt, problem) => {
    const file = join(folder, 'unreadable.jsonl');
    writeFileSync(file, Buffer.concat([Buffer.from('{"prompt":"x"}\n{"prompt":'), prompt, Buffer.from('}\n')]));
    const { code, stderr } = await heddle(['generate', '-m', base, '-i', file]);
    expect(stderr).toBe(`heddle: ${file}:2: ${problem}\n`);
    expect(code).toBe(1);
  });

  it('names a file that cannot be read', async () => {
    const { code, stderr } = await heddle(['generate', '-m', base, '-i', join(folder, 'none.jsonl')]);
    expect(stderr).toBe(`heddle: cannot read ${join(folder, 'none.jsonl')}: no such file\n`);
    expect(code).toBe(1);
  });
});

describe('heddle score', () => {
  const requests = [
    { id: 'a', text: 'Call me Ishmael.' },
    { id: 'b', text: 'Call me Ishmael.', adapter: 'poet' },
    { id: 'c', tokens: [1, 2, 3] },
    { id: 'd', text: 'x', adapter: { name: 'poet', scale: 0 } },
  ];
  const words = ['score', '-m', base, '-a', `poet=${adapter('poet')}`, '-i', '-'];

  it('gives log-probabilities and perplexity as JSON', async () => {
    const { code, stdout, stderr } = await heddle([...words, '--json'], { input: toLines(requests) });
    expect(stderr).toBe('');
    const lines = jsonLines(stdout);
    expect(lines.map((line) => line.adapter)).toEqual([null, 'poet', null, { name: 'poet', scale: 0 }, undefined]);
    for (const { tokens, logprobs, count, nll, perplexity } of lines.slice(0, 3) as Record<string, number & number[]>[]) {
      expect(logprobs?.[0]).toBeNull();
      expect(logprobs).toHaveLength(tokens?.length as number);
      expect(count).toBe((tokens?.length as number) - 1);
      const sum = (logprobs as unknown as number[]).slice(1).reduce((total, value) => total - value, 0);
      expect(nll).toBeCloseTo(sum, 6);
      expect(perplexity).toBeCloseTo(Math.exp(sum / (count as unknown as number)), 6);
    }
    expect(lines[0]?.nll).not.toBe(lines[1]?.nll);
    expect(lines[4]?.stats).toMatchObject({ maxAdaptersInStep: 1 });
    expect(code).toBe(0);
  });

  it('is a table for people', async () => {
    const { code, stdout, stderr } = await heddle(words, { input: toLines([...requests, { text: 1 }]) });
    expect(stdout).toMatch(/^id {2}adapter {3}tokens +nll {2}perplexity\n/);
    expect(stdout).toMatch(/\na {3}\(base\) +\d+ +\d+\.\d{3} +\d+\.\d{3}\n/);
    expect(stdout).toContain('0 × poet');
    expect(stderr).toMatch(/^heddle: standard input:5: the request\.text is 1: [^\n]+\n$/);
    expect(code).toBe(1);
  });
});
