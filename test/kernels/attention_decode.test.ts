// Tokens that stand alone in their request, over pages as engines lay them out: CUDA devices have kernels of their own for them.
import { describe, expect, it } from 'vitest';
import { attentionReference, kvWriteReference } from './attention.reference.ts';
import { Scene, type SceneOptions, type Token, tokensOf, wholePrompts } from './attention.scene.ts';
import { checkOp, i32, type OpCase, runOp } from './check_op.ts';
import { testedCuda } from './test_devices.ts';

const lastTokens = (lengths: readonly number[]): Token[] => lengths.map((length, request) => ({ request, position: length - 1 }));

const decode = (name: string, options: SceneOptions, tokens?: Token[], more: Partial<OpCase> = {}): OpCase => ({
  name,
  ...new Scene({ pageTail: 0, ...options }).attend(tokens ?? lastTokens(options.lengths)),
  ...more,
});

const ragged = [1, 16, 17, 130, 400];
const several = new Scene({ lengths: ragged, heads: 8, keyHeads: 2, width: 64, type: 'bf16', pageTail: 0 });
const refusal = (name: string, change: (inputs: OpCase['inputs']) => void, error: RegExp): OpCase => {
  const test = several.attend(lastTokens(ragged));
  change(test.inputs);
  return { ...test, name, error };
};
const pageOf = (request: number, block: number, page: number) => {
  const table = Array.from(several.blockTable.values);
  table[request * (several.blockTable.dims[1] as number) + block] = page;
  return i32(several.blockTable.dims, table);
};

checkOp('kv_write', {
  reference: kvWriteReference,
  cases: [
    {
      name: 'one token per request',
      ...new Scene({ lengths: ragged, type: 'bf16', keyHeads: 2, width: 72, pageTail: 0 }).write(lastTokens(ragged)),
    },
  ],
});

checkOp('attention', {
  reference: attentionReference,
  cases: [
    ...[1, 2, 3, 4, 5, 8, 9, 20].map((group) =>
      decode(`${group} query heads per key head`, { lengths: ragged, heads: group * 2, keyHeads: 2, width: 64, type: 'bf16' }),
    ),
    ...[8, 16, 24, 64, 72, 80, 128, 136, 256].flatMap((width) =>
      (['f32', 'f16', 'bf16'] as const).map((type) =>
        decode(`width ${width}, ${type} cache`, { lengths: [5, 140], heads: 8, keyHeads: 2, width, type }),
      ),
    ),
    ...(['f32', 'f16', 'bf16'] as const).map((type) =>
      decode(`one head per key head, ${type} cache`, { lengths: [33, 150], heads: 3, keyHeads: 3, width: 128, type }),
    ),
    ...[1, 8, 17, 130, 10_000].map((window) =>
      decode(`window of ${window}`, { lengths: [20, 300], heads: 6, keyHeads: 2, width: 80, type: 'f16', window }),
    ),
    decode('more chunks than a token may have', { lengths: [4200], heads: 2, keyHeads: 1, width: 16, type: 'bf16' }),
    decode('more tokens than share their keys', {
      lengths: Array.from({ length: 20 }, (_, i) => 7 * i + 1),
      heads: 4,
      keyHeads: 2,
      width: 16,
      type: 'f16',
    }),
    decode('skipped tokens between', { lengths: ragged, heads: 4, width: 64, type: 'bf16' }, [
      { request: 3, position: 100 },
      { request: 3, position: -1 },
      { request: 3, position: 101 },
      { request: 99, position: -7 },
      { request: 4, position: 355 },
    ]),
    decode('beside prompts', { lengths: ragged, heads: 6, keyHeads: 2, width: 64, type: 'bf16' }, [
      { request: 4, position: 399 },
      ...tokensOf(3, 90, 130),
      { request: 2, position: 16 },
      ...tokensOf(1, 14, 16),
      { request: 0, position: 0 },
    ]),
    decode('prompts', { lengths: [16, 17, 90], heads: 4, keyHeads: 2, width: 64, type: 'bf16' }, wholePrompts([16, 17, 90])),
    { name: 'columns of a wider tensor', ...several.attend(lastTokens(ragged), 5) },
    decode('soft cap', { lengths: [50, 200], heads: 4, width: 24, type: 'bf16', softCap: 5, scale: 3 }, undefined, {
      loosen: 8,
      because: 'scores reach 50 before the cap, and their error with them',
    }),
    decode('keys of minus infinity weigh nothing', {
      lengths: [100, 300],
      width: 24,
      type: 'f16',
      query: (n) => new Float64Array(n).fill(1),
      key: (n) => Float64Array.from({ length: n }, (_, i) => (i % 24 === 3 && i < 70 * 24 && i >= 24 ? Number.NEGATIVE_INFINITY : 0)),
    }),
    decode('nothing but minus infinity has no answer', {
      lengths: [150],
      width: 24,
      type: 'bf16',
      query: (n) => new Float64Array(n).fill(1),
      key: (n) => Float64Array.from({ length: n }, (_, i) => (i % 24 === 3 ? Number.NEGATIVE_INFINITY : 0)),
    }),
    decode(
      'a NaN beyond the token',
      {
        lengths: [50],
        heads: 8,
        width: 64,
        type: 'bf16',
        key: (n) => Float64Array.from({ length: n }, (_, i) => (i >= 45 * 64 ? Number.NaN : Math.sin(i))),
        value: (n) => Float64Array.from({ length: n }, (_, i) => (i >= 44 * 64 ? Number.NaN : Math.cos(i))),
      },
      [{ request: 0, position: 43 }],
    ),
    refusal(
      'a page outside the pool',
      (inputs) => (inputs.blockTable = pageOf(4, 20, 5000)),
      /block 20 of request 4 is page 5000: the pool has/,
    ),
    refusal('a page below zero', (inputs) => (inputs.blockTable = pageOf(3, 8, -3)), /block 8 of request 3 is page -3: the pool has/),
    refusal(
      'a position beyond the table',
      (inputs) => (inputs.positions = i32([5], [0, 15, 16, 129, 1 << 30])),
      /token 4 is at position 1073741824: .* ends at position 400/,
    ),
    refusal(
      'a request beyond the table',
      (inputs) => (inputs.request = i32([5], [0, 1, 5, 3, 4])),
      /token 2 belongs to request 5: the block table has 5 rows/,
    ),
  ],
});

describe.skipIf(testedCuda === undefined)('attention of tokens alone, bit for bit', () => {
  it('does not depend on how many tokens are in the batch, nor on how their keys are shared out', async () => {
    const lengths = [400, ...Array.from({ length: 30 }, (_, i) => 20 + 5 * i)];
    for (const width of [64, 128]) {
      const scene = new Scene({ lengths, heads: 6, keyHeads: 2, width, type: 'bf16', pageTail: 0 });
      const tokens = lastTokens(lengths);
      const { y: together } = await runOp('attention', { name: 'together', ...scene.attend(tokens) }, testedCuda);
      const perToken = scene.heads * width;
      for (const alone of [0, 7, 30]) {
        const { y } = await runOp('attention', { name: 'alone', ...scene.attend([tokens[alone] as Token]) }, testedCuda);
        expect(
          Buffer.from((y as Float64Array).buffer).equals(
            Buffer.from((together as Float64Array).slice(alone * perToken, (alone + 1) * perToken).buffer),
          ),
        ).toBe(true);
      }
    }
  });

  it('a prompt has the same bits whatever lies beside it', async () => {
    const scene = new Scene({ lengths: [150, 40], heads: 4, keyHeads: 2, width: 64, type: 'bf16', pageTail: 0 });
    const perToken = scene.heads * scene.width;
    const { y: whole } = await runOp('attention', { name: 'whole', ...scene.attend(tokensOf(0, 0, 150)) }, testedCuda);
    const { y: part } = await runOp(
      'attention',
      { name: 'part', ...scene.attend([...tokensOf(1, 0, 7), ...tokensOf(0, 61, 150)]) },
      testedCuda,
    );
    expect(
      Buffer.from((part as Float64Array).slice(7 * perToken).buffer).equals(
        Buffer.from((whole as Float64Array).slice(61 * perToken).buffer),
      ),
    ).toBe(true);
  });
});
