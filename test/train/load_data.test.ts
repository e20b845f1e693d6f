import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { AbortError, FileAccessError, FileFormatError, OptionError } from '../../lib/errors.js';
import { ChatTemplate } from '../../lib/text/chat_template.js';
import type { BadLine } from '../../lib/train/data/bad_lines.js';
import { type DataOptions, parseDataOptions } from '../../lib/train/data/data_options.js';
import { type ExampleSet, exampleCount, fingerprintOf } from '../../lib/train/data/example_set.js';
import { type DataContext, type LoadedData, loadData } from '../../lib/train/data/load_data.js';
import { random } from '../text/random.js';
import { dataFolder, jsonLines } from './data_folder.js';
import { randomText, useTokenizer } from './tokenizers.js';

const folder = dataFolder();
const tokenizer = useTokenizer('storyteller');
const load = (options: DataOptions, context: Partial<DataContext> = {}): Promise<LoadedData> =>
  loadData(parseDataOptions(options), { tokenizer: tokenizer.get(), maxLength: 64, ...context });
const encode = (text: string): number[] => tokenizer.get().encode(text);
const end = 0;

/** Each example's ids, and which of them are learned. */
function list(set: ExampleSet): { ids: number[]; labels: number[] }[] {
  return Array.from({ length: exampleCount(set) }, (_, e) => {
    const range = [set.starts[e] as number, (set.starts[e] as number) + (set.lengths[e] as number)] as const;
    return { ids: [...set.ids.subarray(...range)], labels: [...set.labels.subarray(...range)] };
  });
}

const idsOf = (set: ExampleSet): number[][] => list(set).map(({ ids }) => ids);
const following = (ids: readonly number[]): number[] => [...ids.slice(1), -1];

describe('loadData of JSONL', () => {
  it('reads all forms in one file, with marks, CRLF, blank lines and no end of the last line', async () => {
    const lines = [
      '\ufeff{"text": "the whale é 🙂"}\r\n',
      '\r\n',
      '  \n',
      '{"prompt": "Who?", "completion": " Ahab."}\n',
      '{"tokens": [5, 6, 7], "labels": [-100, -100, 9]}\r\n',
      '{"tokens": [8, 9]}',
    ];
    const { training, evaluation, report } = await load(folder.write('all.jsonl', lines.join('')));
    const [text, completion] = [
      [...encode('the whale é 🙂'), end],
      [...encode('Who? Ahab.'), end],
    ];
    const prompt = encode('Who?').length;
    expect(list(training)).toEqual([
      { ids: text, labels: following(text) },
      { ids: completion, labels: following(completion).map((label, i) => (i + 1 < prompt ? -1 : label)) },
      { ids: [5, 6, 7], labels: [-1, 9, -1] },
      { ids: [8, 9], labels: [9, -1] },
    ]);
    expect(evaluation).toBeUndefined();
    expect(report).toMatchObject({ documents: 4, examples: 4, truncated: 0, split: 0, badLines: 0, firstBadLines: [] });
    expect(report.tokens).toBe(text.length + completion.length + 5);
  });

  it('renders chats', async () => {
    const template = new ChatTemplate(
      "{% for m in messages %}{{ m.role[0] + ':' + m.content + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'a:' }}{% endif %}",
    );
    const messages = [
      { role: 'user', content: 'Who?' },
      { role: 'assistant', content: 'Ahab.' },
    ];
    const { training } = await load(folder.write('chat.jsonl', jsonLines({ messages })), { chatTemplate: template });
    const ids = encode('u:Who?<|end|>\na:Ahab.<|end|>\n');
    expect(idsOf(training)).toEqual([ids]);
    expect(list(training)[0]?.labels.filter((label) => label !== -1)).toEqual(encode('Ahab.<|end|>'));
    await expect(load(join(folder.path, 'chat.jsonl'))).rejects.toThrow(/no chat template/);
  });

  it('fails at the first bad line, naming file, line and reason', async () => {
    const file = folder.write('bad.jsonl', `${jsonLines({ text: 'a' }, { text: 'b' })}{"text": \n${jsonLines({ txt: 'c' })}`);
    await expect(load(file)).rejects.toThrow(FileFormatError);
    await expect(load(file)).rejects.toThrow(/bad.jsonl:3: not valid JSON: column 10.*maxBadLines lets some be skipped/);
    await expect(load(file)).rejects.toMatchObject({ details: { file, line: 3, rule: 'example' } });
  });

  it('skips as many bad lines as allowed, and reports each', async () => {
    const content = [
      '{"text": "first"}',
      'no json',
      '{"text": ""}',
      `{"text": "${'x'.repeat(300)}"}`,
      '{"tokens": [4]}',
      '{"text": "last"}',
    ].join('\n');
    const file = folder.write('some.jsonl', Buffer.concat([Buffer.from(`${content}\n`), Buffer.of(0xff), Buffer.from('\n')]));
    const told: BadLine[] = [];
    const options = { files: file, maxLineBytes: 200, onBadLine: (line: BadLine) => told.push(line) };
    const { training, report } = await load({ ...options, maxBadLines: 5 });
    expect(idsOf(training)).toEqual([
      [...encode('first'), end],
      [...encode('last'), end],
    ]);
    expect(told.map(({ line, reason }) => [line, reason])).toEqual([
      [2, expect.stringContaining('not valid JSON')],
      [3, 'text is empty'],
      [4, 'the line has 312 bytes: expected at most 200'],
      [5, 'nothing is learned from the example: it has one token'],
      [7, 'the line is not UTF-8 text'],
    ]);
    expect(report.badLines).toBe(5);
    expect(report.firstBadLines).toEqual(told);
    await expect(load({ ...options, maxBadLines: 4 })).rejects.toThrow(
      /some.jsonl:7: the line is not UTF-8 text \(bad line number 5, maxBadLines is 4\)/,
    );
  });

  it('says that there is no example', async () => {
    await expect(load(folder.write('empty.jsonl', ''))).rejects.toThrow(/empty.jsonl: there is no example$/);
    await expect(load(folder.write('blank.jsonl', '\n \r\n'))).rejects.toThrow(/blank.jsonl: there is no example$/);
    const file = folder.write('none.jsonl', '[]\n{}\n');
    await expect(load({ files: file, maxBadLines: 9 })).rejects.toThrow(
      /there is no example: 2 lines are bad, the first is .*none.jsonl:1: the line is an array/,
    );
    await expect(load(folder.write('empty.txt', ''))).rejects.toThrow(/empty.txt:1: the file is empty/);
  });

  it('splits, truncates or refuses what is too long', async () => {
    const ids = Array.from({ length: 150 }, (_, i) => 10 + i);
    const masked = ids.map((id, i) => (i < 70 || i >= 140 ? -100 : id));
    const file = folder.write('long.jsonl', jsonLines({ tokens: ids }, { tokens: ids, labels: masked }, { tokens: [1, 2] }));
    // Ids alone are text that goes on; what labels answer to must not be lost. The second has its first label too far behind.
    await expect(load(file)).rejects.toThrow(/long.jsonl:2: the first 64 of 150 tokens hold nothing that is learned/);
    const byDefault = await load({ files: file, maxLength: 64, maxBadLines: 1 });
    expect(byDefault.report).toMatchObject({ documents: 2, examples: 4, truncated: 0, split: 1, badLines: 1 });
    expect(idsOf(byDefault.training)).toEqual([ids.slice(0, 64), ids.slice(64, 128), ids.slice(128), [1, 2]]);
    // Every token but the first is learned: a cut takes no label away.
    expect(list(byDefault.training).flatMap(({ labels }) => labels)).toEqual([...following(ids), 2, -1]);

    const split = await load({ files: file, tooLong: 'split', maxLength: 32 });
    expect(split.report).toMatchObject({ documents: 3, split: 2, withoutLabel: 2, truncated: 0 });
    const learned = masked.filter((label) => label !== -100);
    expect(list(split.training).flatMap(({ labels }) => labels.filter((label) => label !== -1))).toEqual([...ids.slice(1), ...learned, 2]);

    const truncated = await load({ files: file, tooLong: 'truncate', maxLength: 50, maxBadLines: 1 }, { maxLength: 100 });
    expect(truncated.report).toMatchObject({ documents: 2, truncated: 1, split: 0, badLines: 1 });
    expect(list(truncated.training)[0]).toEqual({ ids: ids.slice(0, 50), labels: following(ids.slice(0, 50)) });

    const refused = await load({ files: file, tooLong: 'error', maxBadLines: 2 });
    expect(refused.report.firstBadLines.map(({ line, reason }) => [line, reason])).toEqual([
      [1, 'the example has 150 tokens: expected at most 64'],
      [2, 'the example has 150 tokens: expected at most 64'],
    ]);
    expect((await load({ files: file, tooLong: 'error' }, { maxLength: 150 })).report.examples).toBe(3);
    await expect(load({ files: file, maxLength: 65 })).rejects.toThrow(/maxLength is 65: expected at most 64/);
  });

  it('keeps the order of many lines, read in many parts', async () => {
    const next = random(31);
    const values = Array.from({ length: 1000 }, (_, i) =>
      i % 7 === 3 ? { tokens: [i % 2000, 3] } : { text: `${i} ${randomText(next() % 60, next)}` },
    );
    const { training } = await load({ files: folder.write('many.jsonl', jsonLines(...values)), tooLong: 'error' }, { maxLength: 1000 });
    const ids = idsOf(training);
    expect(ids).toHaveLength(1000);
    values.forEach((value, i) => {
      expect(ids[i]).toEqual('tokens' in value ? value.tokens : [...encode(value.text as string), end]);
    });
  });

  it('tells progress, and stops when told', async () => {
    const file = folder.write('progress.jsonl', jsonLines(...Array.from({ length: 400 }, (_, i) => ({ text: `line ${i}` }))));
    const onProgress = vi.fn();
    await load([file, join(folder.path, 'all.jsonl')], { onProgress });
    const calls = onProgress.mock.calls.map(([progress]) => progress);
    expect(calls.length).toBeGreaterThan(3);
    expect(calls.at(-1)).toMatchObject({ file: join(folder.path, 'all.jsonl'), documents: 404 });
    expect(calls.at(-1).bytes).toBe(calls.at(-1).totalBytes);
    calls.slice(1).forEach((call, i) => {
      expect(call.bytes).toBeGreaterThanOrEqual(calls[i].bytes);
      expect(call.tokens).toBeGreaterThanOrEqual(calls[i].tokens);
    });
    const controller = new AbortController();
    const stopped = load(file, { signal: controller.signal, onProgress: () => controller.abort() });
    await expect(stopped).rejects.toThrow(AbortError);
    await expect(load(file, { signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
  });

  it('refuses files that cannot be read', async () => {
    await expect(load(join(folder.path, 'missing.jsonl'))).rejects.toThrow(FileAccessError);
    mkdirSync(join(folder.path, 'folder.txt'), { recursive: true });
    await expect(load(join(folder.path, 'folder.txt'))).rejects.toThrow(/folder.txt: expected a regular file/);
  });
});

describe('loadData of plain text', () => {
  it('cuts one document into windows, each token learned once', async () => {
    const text = randomText(3000, random(2));
    const { training, report } = await load(folder.write('one.txt', `\ufeff${text.replaceAll('\n', '\r\n')}`));
    const ids = [...encode(text), end];
    expect(idsOf(training).flat()).toEqual(ids);
    expect(list(training).flatMap(({ labels }) => labels)).toEqual(following(ids));
    expect(
      idsOf(training)
        .slice(0, -1)
        .every((window) => window.length === 64),
    ).toBe(true);
    expect(report).toMatchObject({ documents: 1, split: 1, tokens: ids.length, targets: ids.length - 1 });
    expect((await load({ files: join(folder.path, 'one.txt'), endOfText: false })).report.tokens).toBe(ids.length - 1);
  });

  it('takes documents with blank lines between them', async () => {
    const file = folder.write('poems.txt', '\n\nfirst line\r\nsecond line\r\n \t\r\n\r\nanother\n\n\nlast');
    const { training, report } = await load({ files: file, documents: 'blank-lines' });
    expect(idsOf(training)).toEqual(['first line\nsecond line', 'another', 'last'].map((text) => [...encode(text), end]));
    expect(report.documents).toBe(3);
    const broken = folder.write('broken.txt', Buffer.concat([Buffer.from('one\ntwo\n'), Buffer.of(0xff), Buffer.from('\n\nthree')]));
    const { report: skipped, training: rest } = await load({ files: broken, documents: 'blank-lines', maxBadLines: 1 });
    expect(skipped.firstBadLines).toEqual([{ file: broken, line: 3, reason: 'the line is not UTF-8 text' }]);
    expect(idsOf(rest)).toEqual([[...encode('three'), end]]);
  });

  it('tells text and JSONL apart by the name, or by the first line', async () => {
    const line = jsonLines({ text: 'inside' });
    const inside = [...encode('inside'), end];
    expect(idsOf((await load(folder.write('a.ndjson', line))).training)).toEqual([inside]);
    expect(idsOf((await load(folder.write('noname', `\n${line}`))).training)).toEqual([inside]);
    expect(idsOf((await load({ files: folder.write('b.txt', line), format: 'jsonl' })).training)).toEqual([inside]);
    for (const [name, content] of [
      ['c.txt', line],
      ['other', '{ curly prose'],
      ['plain.data', 'prose\n{}'],
    ] as const)
      expect(idsOf((await load(folder.write(name, content))).training)).toEqual([[...encode(content), end]]);
  });
});

describe('evaluation', () => {
  const lines = Array.from({ length: 50 }, (_, i) => ({ tokens: [1000 + i, 2, 3] }));
  const markers = (set: ExampleSet): number[] => idsOf(set).map(([first]) => first as number);

  it('holds out a share drawn by the seed, and nothing twice', async () => {
    const file = folder.write('held.jsonl', jsonLines(...lines));
    const drawn = new Map<number, string>();
    for (const seed of [0, 1, 2]) {
      const { training, evaluation, report, evaluationReport } = await load({ files: file, evaluation: 0.1, seed });
      const held = markers(evaluation as ExampleSet);
      expect(held).toHaveLength(5);
      expect([...markers(training), ...held].sort((a, b) => a - b)).toEqual(lines.map(({ tokens }) => tokens[0]));
      expect([report.examples, evaluationReport?.examples]).toEqual([45, 5]);
      drawn.set(seed, held.join());
      const again = await load({ files: file, evaluation: 0.1, seed });
      expect(fingerprintOf(again.training)).toBe(fingerprintOf(training));
      expect(fingerprintOf(again.evaluation as ExampleSet)).toBe(fingerprintOf(evaluation as ExampleSet));
    }
    expect(new Set(drawn.values()).size).toBe(3);
    expect(markers((await load({ files: file, evaluation: 0.001 })).evaluation as ExampleSet)).toHaveLength(1);
    expect(markers((await load({ files: file, evaluation: 0.999 })).training)).toHaveLength(1);
  });

  it('holds all pieces of a split document out, or none', async () => {
    const file = folder.write('pieces.jsonl', jsonLines(...Array.from({ length: 20 }, (_, i) => ({ tokens: Array(90).fill(100 + i) }))));
    const { training, evaluation } = await load({ files: file, evaluation: 0.25, maxLength: 16 });
    const [learned, held] = [new Set(idsOf(training).flat()), new Set(idsOf(evaluation as ExampleSet).flat())];
    expect([learned.size, held.size]).toEqual([15, 5]);
    expect([...held].some((id) => learned.has(id))).toBe(false);
  });

  it('holds out the last part of a text, and no label reaches over', async () => {
    const text = randomText(3000, random(12));
    const { training, evaluation } = await load({ files: folder.write('tail.txt', text), evaluation: 0.1 });
    const ids = [...encode(text), end];
    const kept = ids.length - Math.round(ids.length * 0.1);
    expect(idsOf(training).flat()).toEqual(ids.slice(0, kept));
    expect(idsOf(evaluation as ExampleSet).flat()).toEqual(ids.slice(kept));
    expect(list(training).flatMap(({ labels }) => labels)).toEqual(following(ids.slice(0, kept)));
  });

  it('takes files, which must be others', async () => {
    const file = join(folder.path, 'held.jsonl');
    const other = folder.write('other.jsonl', `${jsonLines({ tokens: [7, 8] })}bad\n`);
    const { training, evaluation, evaluationReport, report } = await load({ files: file, evaluation: other, maxBadLines: 1 });
    expect(exampleCount(training)).toBe(50);
    expect(idsOf(evaluation as ExampleSet)).toEqual([[7, 8]]);
    expect([report.badLines, evaluationReport?.badLines]).toEqual([0, 1]);
    expect(evaluationReport?.firstBadLines[0]).toMatchObject({ file: other, line: 2 });
    symlinkSync(file, join(folder.path, 'link.jsonl'));
    await expect(load({ files: file, evaluation: join(folder.path, 'link.jsonl') })).rejects.toThrow(OptionError);
  });

  it('refuses to leave nothing', async () => {
    const one = folder.write('single.jsonl', jsonLines({ tokens: [1, 2, 3] }));
    await expect(load({ files: one, evaluation: 0.5 })).rejects.toThrow(
      /evaluation is 0.5: of 1 examples with 3 tokens that leaves nothing to evaluate/,
    );
    const short = folder.write('short.txt', 'a');
    await expect(load({ files: short, evaluation: 0.9 })).rejects.toThrow(/leaves nothing to train on/);
  });
});

describe('endOfText', () => {
  it('is an error where the tokenizer has none', async () => {
    const endless = new Proxy(tokenizer.get(), { get: (target, key) => (key === 'eosId' ? undefined : bound(target, key)) });
    const file = folder.write('end.txt', 'the end');
    await expect(load({ files: file, endOfText: true }, { tokenizer: endless })).rejects.toThrow(
      /endOfText is true: the tokenizer has no token/,
    );
    expect(idsOf((await load(file, { tokenizer: endless })).training)).toEqual([encode('the end')]);
  });
});

function bound(target: object, key: string | symbol): unknown {
  const value = Reflect.get(target, key, target) as unknown;
  return typeof value === 'function' ? value.bind(target) : value;
}
