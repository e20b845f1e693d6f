import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { attentionReference, kvWriteReference } from './attention.reference.ts';
import { Scene, type SceneOptions, type Token, tokensOf, wholePrompts } from './attention.scene.ts';
import { checkOp, f32, i32, type OpCase, runOp } from './check_op.ts';
import { testsCpu } from './test_devices.ts';

const whole = (name: string, options: SceneOptions, more: Partial<OpCase> = {}): OpCase => ({
  name,
  ...new Scene(options).attend(wholePrompts(options.lengths)),
  ...more,
});
const written = (name: string, options: SceneOptions, tokens: Token[], padding = 0): OpCase => ({
  name,
  ...new Scene(options).write(tokens, padding),
});

const ragged = [1, 40, 17, 3];
const scene = new Scene({ lengths: ragged, heads: 6, keyHeads: 2, width: 20 });
const long = new Scene({ lengths: [150], heads: 8, keyHeads: 1, width: 64, type: 'bf16' });

/** Small whole numbers: with a power of two as the scale every score is exact. */
const integers = (size: number) => (count: number) => Array.from({ length: count }, (_, i) => ((i * 7919) % (2 * size + 1)) - size);

const refusal = (name: string, change: (inputs: OpCase['inputs'], attrs: NonNullable<OpCase['attrs']>) => void, error: RegExp): OpCase => {
  const test = scene.attend(tokensOf(1, 30, 32));
  const inputs: OpCase['inputs'] = { ...test.inputs };
  const attrs: NonNullable<OpCase['attrs']> = { ...test.attrs };
  change(inputs, attrs);
  return { name, inputs, attrs, outputs: { y: { dtype: 'f32', dims: inputs.q?.dims ?? [] } }, error };
};
const writeRefusal = (
  name: string,
  change: (inputs: OpCase['inputs'], attrs: NonNullable<OpCase['attrs']>) => void,
  error: RegExp,
): OpCase => {
  const { inputs, attrs } = scene.write(tokensOf(1, 30, 32));
  const changed: NonNullable<OpCase['attrs']> = { ...attrs };
  change(inputs, changed);
  return { name, inputs, attrs: changed, error };
};
const badPage = (page: number) => {
  const table = Array.from(scene.blockTable.values);
  table[(scene.blockTable.dims[1] as number) + 1] = page;
  return i32(scene.blockTable.dims, table);
};

// Quarters and whole numbers: the rotation is exact in f32 and in f16, so that bytes can be compared.
const rotated = (
  name: string,
  options: SceneOptions,
  tokens: Token[],
  rotary: number,
  more: { interleaved?: boolean; padding?: number } = {},
): OpCase => {
  const { inputs, attrs } = new Scene({ ...options, key: integers(8) }).write(tokens, more.padding);
  const table = Float64Array.from({ length: tokens.length * rotary }, (_, i) => (((i * 37) % 9) - 4) / 4);
  return {
    name,
    inputs: { ...inputs, table: f32([tokens.length, rotary], table) },
    attrs: { ...attrs, interleaved: more.interleaved ?? false },
  };
};

checkOp('kv_write', {
  reference: kvWriteReference,
  cases: [
    written('no tokens', { lengths: [4] }, []),
    written('one token', { lengths: [20] }, tokensOf(0, 18, 19)),
    ...(['f32', 'f16', 'bf16'] as const).map((type) =>
      written(`${type}, ragged requests`, { lengths: ragged, type, keyHeads: 2, width: 7 }, wholePrompts(ragged)),
    ),
    written('enough tokens to share between threads', { lengths: [90], type: 'bf16', keyHeads: 4, width: 64 }, tokensOf(0, 0, 90)),
    written('columns of a wider tensor', { lengths: [17, 5], type: 'f16', keyHeads: 2 }, wholePrompts([17, 5]), 5),
    written('negative positions are skipped', { lengths: [4, 9] }, [
      { request: 0, position: -1 },
      ...tokensOf(1, 3, 6),
      { request: 9, position: -1 },
    ]),
    written(
      'values outside the range of f16',
      { lengths: [3], type: 'f16', key: (n) => new Float64Array(n).fill(1e30), value: (n) => new Float64Array(n).fill(-3e-8) },
      tokensOf(0, 0, 3),
    ),
    rotated('rotated keys', { lengths: [20, 3], keyHeads: 2, width: 16 }, wholePrompts([20, 3]), 16),
    rotated('rotated keys, the first channels only', { lengths: [20], keyHeads: 3, width: 10, type: 'f16' }, tokensOf(0, 5, 20), 6),
    rotated('rotated pairs side by side', { lengths: [9], keyHeads: 2, width: 14 }, tokensOf(0, 0, 9), 14, { interleaved: true }),
    rotated('rotated columns of a wider tensor', { lengths: [17, 5], type: 'f16', keyHeads: 2 }, wholePrompts([17, 5]), 4, { padding: 5 }),
    rotated('rotated keys, enough for several threads', { lengths: [300], keyHeads: 4, width: 32 }, tokensOf(0, 0, 300), 32),
    rotated('rotated keys, no tokens', { lengths: [4] }, [], 4),
    writeRefusal(
      'a table that is too wide',
      (inputs) => (inputs.table = f32([2, 22])),
      /table is f32 \[2, 22\], k is f32 \[2, 2, 20\]: expected f32 \[tokens, rotary\]/,
    ),
    writeRefusal('a table for other tokens', (inputs) => (inputs.table = f32([3, 8])), /table is f32 \[3, 8\]/),
    writeRefusal(
      'a page outside the pool',
      (inputs) => (inputs.blockTable = badPage(999)),
      /block 1 of request 1 is page 999: the pool has 14 pages/,
    ),
    writeRefusal('a page below zero', (inputs) => (inputs.blockTable = badPage(-2)), /block 1 of request 1 is page -2/),
    writeRefusal(
      'a position beyond the table',
      (inputs) => (inputs.positions = i32([2], [30, 48])),
      /token 1 is at position 48: .* ends at position 48/,
    ),
    writeRefusal(
      'a request beyond the table',
      (inputs) => (inputs.request = i32([2], [4, 1])),
      /token 0 belongs to request 4: the block table has 4 rows/,
    ),
    writeRefusal(
      'a layer that leaves its page',
      (_, attrs) => (attrs.layerOffset = (attrs.layerOffset as number) + 12),
      /does not fit in pages of/,
    ),
    writeRefusal('a misaligned layer', (_, attrs) => (attrs.layerOffset = 2), /expected multiples of 4/),
  ],
});

checkOp('attention', {
  reference: attentionReference,
  cases: [
    { name: 'no tokens', ...scene.attend([]) },
    ...[1, 15, 16, 17, 40, 63, 64, 65, 130].map((length) => whole(`prompt of ${length}`, { lengths: [length], heads: 4, keyHeads: 2 })),
    { name: 'ragged requests', ...scene.attend(wholePrompts(ragged)) },
    {
      name: 'decode rows beside prompts',
      ...scene.attend([...tokensOf(1, 39, 40), ...tokensOf(0, 0, 1), ...tokensOf(2, 0, 17), ...tokensOf(3, 2, 3)]),
    },
    { name: 'tokens out of order', ...scene.attend([...tokensOf(1, 33, 36), ...tokensOf(1, 2, 5), ...tokensOf(1, 20, 21)]) },
    { name: 'columns of a wider tensor', ...scene.attend(wholePrompts(ragged), 9) },
    {
      name: 'negative positions give zeros',
      ...scene.attend([{ request: 0, position: -1 }, ...tokensOf(1, 8, 12), { request: 77, position: -5 }, ...tokensOf(1, 12, 13)]),
    },
    ...[1, 8, 16, 17, 1000].map((window) => whole(`window of ${window}`, { lengths: [70, 9], heads: 3, keyHeads: 3, window })),
    ...[1, 3, 8, 71].map((group) =>
      whole(`${group} query heads per key head`, { lengths: [37], heads: group * 2, keyHeads: 2, width: 12 }),
    ),
    ...[1, 12, 20, 64, 80, 128, 256].flatMap((width) =>
      (['f32', 'f16', 'bf16'] as const).map((type) =>
        whole(
          `width ${width}, ${type} cache`,
          { lengths: [21, 66], heads: 8, keyHeads: 2, width, type },
          // One channel is its own row: values of size 1 that cancel have nothing beside them to be judged by.
          width === 1 ? { absolute: 1e-6 } : {},
        ),
      ),
    ),
    whole(
      'soft cap',
      { lengths: [50], width: 20, softCap: 5, scale: 3 },
      { loosen: 8, because: 'scores reach 50 before the cap, and their error with them' },
    ),
    whole('scores up to 1e4', { lengths: [70], width: 20, scale: 64, query: integers(3), key: integers(3) }),
    whole(
      'scores up to 1e4 under a soft cap',
      { lengths: [70], width: 20, scale: 64, softCap: 30, query: integers(3), key: integers(3) },
      { loosen: 8, because: 'a cap of 30 multiplies the error of tanh' },
    ),
    whole('keys of minus infinity weigh nothing', {
      lengths: [100],
      width: 20,
      query: (n) => new Float64Array(n).fill(1),
      key: (n) => Float64Array.from({ length: n }, (_, i) => (i % 20 === 3 && i < 70 * 20 && i >= 20 ? Number.NEGATIVE_INFINITY : 0)),
    }),
    whole('nothing but minus infinity has no answer', {
      lengths: [70],
      width: 20,
      query: (n) => new Float64Array(n).fill(1),
      key: (n) => Float64Array.from({ length: n }, (_, i) => (i % 20 === 3 && i < 66 * 20 ? Number.NEGATIVE_INFINITY : 0)),
    }),
    ...[1, 8].map((group) =>
      whole(`a NaN stays with the tokens that see it, ${group} heads per key head`, {
        lengths: [50],
        heads: group,
        width: 64,
        key: (n) => Float64Array.from({ length: n }, (_, i) => (i >= 45 * 64 ? Number.NaN : Math.sin(i))),
        value: (n) => Float64Array.from({ length: n }, (_, i) => (i >= 44 * 64 ? Number.NaN : Math.cos(i))),
      }),
    ),
    refusal(
      'a page outside the pool',
      (inputs) => (inputs.blockTable = badPage(14)),
      /block 1 of request 1 is page 14: the pool has 14 pages/,
    ),
    refusal('a page below zero', (inputs) => (inputs.blockTable = badPage(-1)), /block 1 of request 1 is page -1/),
    refusal(
      'a position beyond the table',
      (inputs) => (inputs.positions = i32([2], [30, 1 << 30])),
      /token 1 is at position 1073741824: .* ends at position 48/,
    ),
    refusal(
      'a request below zero',
      (inputs) => (inputs.request = i32([2], [1, -1])),
      /token 1 belongs to request -1: the block table has 4 rows/,
    ),
    refusal('heads that do not divide', (_, attrs) => (attrs.keyHeads = 4), /6 query heads for 4 key heads/),
    refusal('a layer that leaves its page', (_, attrs) => (attrs.layerOffset = -4), /does not fit in pages of/),
    refusal('one position for two tokens', (inputs) => (inputs.positions = i32([1], [3])), /positions is i32 \[1\]: expected i32 \[2\]/),
    refusal('keys in place of queries', (inputs) => (inputs.q = f32([2, 40])), /expected f32 \[tokens, heads, width\]/),
  ],
});

describe.skipIf(!testsCpu)('attention, bit for bit', () => {
  const native = binding();
  const best = native.cpu().target;
  afterAll(() => native.setCpuTarget(best));

  /** Rows of y by request and position. */
  async function rows(of: Scene, calls: Token[][]): Promise<Map<string, Float64Array>> {
    const result = new Map<string, Float64Array>();
    for (const tokens of calls) {
      const { y } = await runOp('attention', { name: 'part', ...of.attend(tokens) });
      const perToken = of.heads * of.width;
      tokens.forEach(({ request, position }, t) => {
        if (position >= 0) result.set(`${request}:${position}`, (y as Float64Array).slice(t * perToken, (t + 1) * perToken));
      });
    }
    return result;
  }

  const chunks = (length: number, size: number): Token[][] =>
    Array.from({ length: Math.ceil(length / size) }, (_, i) => tokensOf(0, i * size, Math.min(length, (i + 1) * size)));

  const variants: { name: string; of: Scene; calls: (of: Scene) => Token[][] }[] = [
    ...[1, 7, 16, 50].map((size) => ({ name: `chunks of ${size} tokens`, of: long, calls: () => chunks(150, size) })),
    {
      name: 'chunks under a window',
      of: new Scene({ lengths: [150], heads: 3, keyHeads: 3, width: 20, window: 21 }),
      calls: () => chunks(150, 13),
    },
    {
      name: 'chunks of one head',
      of: new Scene({ lengths: [150], heads: 1, keyHeads: 1, width: 64, type: 'f16' }),
      calls: () => chunks(150, 11),
    },
    { name: 'all requests interleaved', of: scene, calls: () => [wholePrompts(ragged).sort((a, b) => a.position - b.position)] },
    { name: 'every token by itself', of: scene, calls: () => wholePrompts(ragged).map((token) => [token]) },
    {
      name: 'skipped tokens between',
      of: scene,
      calls: () => [wholePrompts(ragged).flatMap((token) => [token, { request: 0, position: -1 }])],
    },
  ];
  for (const { name, of, calls } of variants)
    it(`${name} as in one call`, async () => {
      for (const target of native.cpu().targets) {
        await native.setCpuTarget(target);
        const expected = await rows(of, [wholePrompts(of.lengths)]);
        const actual = await rows(of, calls(of));
        expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
        for (const [token, row] of actual)
          expect(Buffer.from(row.buffer).equals(Buffer.from((expected.get(token) as Float64Array).buffer)), `${target}: ${token}`).toBe(
            true,
          );
      }
    });

  it('where the pages lie does not matter', async () => {
    const make = () => {
      let call = 0;
      const fixed = (count: number) => Array.from({ length: count }, (_, i) => Math.sin(i * 1.7 + call++ * 1e-9));
      return new Scene({ lengths: [55], width: 20, query: fixed, key: fixed, value: fixed });
    };
    const [one, other] = [make(), make()];
    expect(Array.from(one.blockTable.values)).not.toEqual(Array.from(other.blockTable.values));
    expect(await rows(one, [wholePrompts([55])])).toEqual(await rows(other, [wholePrompts([55])]));
  });
});
