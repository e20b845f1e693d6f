import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { checkOp, f32, i32, type OpCase, runOp } from './check_op.ts';
import { randomNormal, replaced } from './numbers.ts';
import { seenLikeReference, selfAttentionGradReference, selfAttentionReference } from './self_attention.reference.ts';
import { type PackedOptions, PackedScene, type Ranges } from './self_attention.scene.ts';
import { testsCpu } from './test_devices.ts';

/** Small whole numbers: with a power of two as the scale every score is exact. */
const integers =
  (size: number) =>
  (count: number, seed: number): number[] =>
    Array.from({ length: count }, (_, i) => (((i + seed) * 7919) % (2 * size + 1)) - size);

const scene = new PackedScene({ lengths: [5, 40, 1, 17], heads: 6, keyHeads: 2, width: 20 });
const pairs: Ranges[] = Array.from({ length: 63 }, (_, t) =>
  t % 3 === 0 ? [0, 0, 0, 0] : t % 3 === 1 ? [50, 63, 0, t % 50] : [t, 63, 0, t - 1],
);

type Options = PackedOptions & { loosen?: number; because?: string; absolute?: number };
const scenes: [string, Options][] = [
  ['no documents', { lengths: [] }],
  ['one token', { lengths: [1], absolute: 1e-6 }],
  ...[2, 15, 16, 17, 63, 64, 65, 130].map((length): [string, Options] => [
    `a document of ${length}`,
    { lengths: [length], heads: 4, keyHeads: 2 },
  ]),
  ['ragged documents', { lengths: [1, 40, 17, 3, 70], heads: 6, keyHeads: 2, width: 20 }],
  ['more keys than are kept', { lengths: [1100], heads: 1, width: 4 }],
  ['more tiles than a block looks at together', { lengths: [30, 232], heads: 64, width: 4 }],
  ...[1, 8, 17, 1000].map((window): [string, Options] => [
    `window of ${window}`,
    { lengths: [70, 9], heads: 3, keyHeads: 3, window, absolute: 1e-6 },
  ]),
  ...[1, 3, 8, 71].map((group): [string, Options] => [
    `${group} query heads per key head`,
    { lengths: [37], heads: group * 2, keyHeads: 2, width: 12 },
  ]),
  ...[1, 3, 15, 16, 33, 64, 80, 128, 256].map((width): [string, Options] => [
    `width ${width}`,
    // One channel is its own row: values of size 1 that cancel have nothing beside them to be judged by.
    { lengths: [21, 30], heads: 4, keyHeads: 2, width, ...(width === 1 ? { absolute: 2e-5 } : {}) },
  ]),
  ['prefixes', { lengths: [20, 1, 66], prefix: 7, heads: 4, keyHeads: 2 }],
  ['prefixes and a window', { lengths: [20, 66], prefix: 5, heads: 3, keyHeads: 1, window: 9 }],
  ['columns of wider tensors', { lengths: [17, 25], heads: 4, keyHeads: 2, padding: 9 }],
  [
    'soft cap',
    {
      lengths: [50],
      width: 20,
      softCap: 5,
      scale: 3,
      loosen: 16,
      because: 'scores reach 50 before the cap, and their error with them; where the cap is flat its slope cancels',
    },
  ],
];
const cases = (make: (of: PackedScene, name: string, more: Partial<OpCase>) => OpCase): OpCase[] =>
  scenes.map(([name, { loosen, because, absolute, ...options }]) =>
    make(new PackedScene(options), name, {
      ...(loosen === undefined ? {} : { loosen, because }),
      ...(absolute === undefined ? {} : { absolute }),
    } as Partial<OpCase>),
  );

const refusals = (make: (of: PackedScene, name: string, more: Partial<OpCase>) => OpCase): OpCase[] => {
  const ranges = (name: string, row: Ranges, error: RegExp): OpCase => {
    const rows = Array.from({ length: 63 }, (_, t): Ranges => (t === 41 ? row : [0, 0, 0, 1]));
    return changed(name, { ranges: i32([63, 4], rows.flat()) }, error);
  };
  const changed = (name: string, inputs: OpCase['inputs'], error: RegExp): OpCase => {
    const test = make(scene, name, { error });
    return { ...test, inputs: { ...test.inputs, ...inputs } };
  };
  return [
    ranges('a range below zero', [-1, 2, 0, 0], /token 41 attends keys \[-1, 2\) and \[0, 0\): expected two ranges of 63 keys/),
    ranges('a range beyond the keys', [0, 0, 60, 64], /token 41 attends keys \[0, 0\) and \[60, 64\): expected two ranges of 63 keys/),
    ranges('an empty range beyond the keys', [64, 64, 0, 1], /token 41 attends keys \[64, 64\)/),
    ranges('a range that runs backwards', [0, 0, 9, 8], /token 41 attends keys \[0, 0\) and \[9, 8\)/),
    ranges('ranges as large as they can be', [-(2 ** 31), 2 ** 31 - 1, 0, 0], /token 41 attends keys \[-2147483648, 2147483647\)/),
    ranges('ranges that meet', [0, 10, 9, 20], /token 41 attends keys \[0, 10\) and \[9, 20\): .* that do not meet/),
    changed('ranges of fewer tokens', { ranges: i32([62, 4], new Float64Array(248)) }, /ranges is i32 \[62, 4\]: expected i32 \[63, 4\]/),
    changed('ranges that are no integers', { ranges: f32([63, 4]) }, /ranges is f32/),
    changed('key heads that do not divide', { k: f32([63, 4, 20]) }, /q is f32 \[63, 6, 20\], k is f32 \[63, 4, 20\]/),
    changed('values of another width', { v: f32([63, 2, 19]) }, /v is f32 \[63, 2, 19\]: expected f32 \[63, 2, 20\]/),
    changed('queries of two dimensions', { q: f32([63, 120]) }, /q is f32 \[63, 120\]: expected f32 \[tokens, heads, width\]/),
  ];
};

const withLogSums = (test: OpCase): OpCase => ({ ...test, inputs: { ...test.inputs, dlse: f32(test.inputs.lse?.dims ?? []) } });

const attend = (of: PackedScene, name: string, more: Partial<OpCase>): OpCase => of.attend(name, more);
const gradient = (of: PackedScene, name: string, more: Partial<OpCase>): OpCase => of.gradient(name, more);

checkOp('self_attention', {
  reference: selfAttentionReference,
  cases: [
    ...cases(attend),
    scene.with(pairs).attend('two ranges in any order, and none'),
    new PackedScene({ lengths: [70], width: 20, scale: 64, query: integers(3), key: integers(3) }).attend('scores up to 1e4'),
    new PackedScene({ lengths: [70], width: 20, scale: 64, softCap: 30, query: integers(3), key: integers(3) }).attend(
      'scores up to 1e4 under a soft cap',
      { loosen: 8, because: 'a cap of 30 multiplies the error of tanh' },
    ),
    new PackedScene({ lengths: [9], scale: 2 ** 120, query: integers(1), key: integers(1) }).attend('scores up to 1e37'),
    new PackedScene({
      lengths: [100],
      width: 20,
      query: (n) => new Float64Array(n).fill(1),
      key: (n) => Float64Array.from({ length: n }, (_, i) => (i % 20 === 3 && i < 70 * 20 && i >= 20 ? Number.NEGATIVE_INFINITY : 0)),
    }).attend('keys of minus infinity weigh nothing'),
    new PackedScene({
      lengths: [50, 10],
      heads: 3,
      width: 64,
      key: (n) => Float64Array.from({ length: n }, (_, i) => (i >= 45 * 64 ? Number.NaN : Math.sin(i))),
      value: (n) => Float64Array.from({ length: n }, (_, i) => (i >= 44 * 64 ? Number.NaN : Math.cos(i))),
    }).attend('a NaN stays with the tokens that see it'),
    ...refusals(attend),
  ],
});

checkOp('self_attention_grad', {
  reference: selfAttentionGradReference,
  cases: [
    ...cases(gradient),
    scene.with(pairs).gradient('two ranges in any order, and none'),
    withLogSums(scene.gradient('a gradient of lse')),
    withLogSums(
      new PackedScene({ lengths: [9, 30], prefix: 3, heads: 4, softCap: 2, scale: 1 }).gradient('a gradient of lse under a soft cap'),
    ),
    {
      ...scene.gradient('a gradient of lse of another shape', { error: /dlse is f32 \[63, 5\]: expected f32 \[63, 6\]/ }),
      inputs: { ...scene.gradient('').inputs, dlse: f32([63, 5]) },
    },
    new PackedScene({ lengths: [70], width: 20, scale: 8, query: integers(3), key: integers(3) }).gradient('scores up to 1e3', {
      loosen: 4,
      because: 'an lse of 1e3 is held to 3e-5',
    }),
    new PackedScene({
      lengths: [50, 10],
      heads: 3,
      width: 64,
      query: (n) => Float64Array.from({ length: n }, (_, i) => (i < 3 * 64 * 10 && n > 3 * 64 * 20 ? Number.NaN : Math.sin(i))),
    }).gradient('a NaN stays in its document'),
    ...refusals(gradient),
  ],
});

const seen = (name: string, dims: [number, number, number], ranges: readonly Ranges[], error?: RegExp): OpCase => ({
  name,
  inputs: { x: f32(dims), ranges: i32([ranges.length, 4], ranges.flat()) },
  outputs: { y: { dtype: 'f32', dims } },
  ...(error === undefined ? {} : { error }),
});
checkOp('seen_like', {
  reference: seenLikeReference,
  cases: [
    seen('no tokens', [2, 0, 5], []),
    seen('no keys', [2, 3, 0], Array(3).fill([0, 0, 0, 0])),
    seen('heads that share keys', [2, 189, 63], pairs),
    seen('one token', [1, 1, 7], [[5, 7, 0, 2]]),
    seen(
      'rows that are no multiple of the tokens',
      [1, 3, 7],
      Array(2).fill([0, 0, 0, 1]),
      /y is f32 \[1, 3, 7\]: expected a multiple of the 2 tokens/,
    ),
    seen('rows without tokens', [1, 3, 7], [], /expected a multiple of the 0 tokens/),
    seen('a range beyond the keys', [1, 1, 7], [[0, 8, 0, 0]], /token 0 attends keys \[0, 8\)/),
  ],
});

describe.skipIf(!testsCpu)('self_attention', () => {
  const native = binding();
  const best = native.cpu().target;
  afterAll(() => native.setCpuTarget(best));

  for (const [name, options] of [
    ['documents', { lengths: [5, 3], heads: 2, keyHeads: 1, width: 3 }],
    [
      'prefixes, a window and a soft cap',
      { lengths: [6, 4], prefix: 2, heads: 4, keyHeads: 2, width: 3, window: 3, softCap: 1.5, scale: 1 },
    ],
  ] as const)
    it(`the gradient is the derivative: ${name}`, () => {
      const of = new PackedScene(options);
      const { inputs, attrs } = of.gradient(name);
      const exact = selfAttentionReference(inputs, attrs ?? {}, {}) as { y: Float64Array; lse: Float64Array };
      const whole = {
        ...inputs,
        y: { ...(inputs.y as (typeof of)['q']), values: exact.y },
        lse: { ...(inputs.lse as (typeof of)['q']), values: exact.lse },
      };
      const gradients = selfAttentionGradReference(whole, attrs ?? {}, {});
      const loss = (changed: OpCase['inputs']): number => {
        const { y } = selfAttentionReference({ ...inputs, ...changed }, attrs ?? {}, {}) as { y: Float64Array };
        return y.reduce((sum, value, i) => sum + value * (of.dy.values[i] as number), 0);
      };
      const step = 1e-4;
      for (const operand of ['q', 'k', 'v'] as const)
        for (let i = 0; i < of[operand].values.length; i++) {
          const [up, down] = [step, -step].map((by) =>
            loss({ [operand]: { ...of[operand], values: replaced(of[operand].values, i, (of[operand].values[i] as number) + by) } }),
          ) as [number, number];
          expect(gradients[`d${operand}`]?.[i], `d${operand}[${i}]`).toBeCloseTo((up - down) / (2 * step), 6);
        }
    });

  it('a document has the same bits whatever lies beside it', async () => {
    const options = { heads: 6, keyHeads: 2, width: 20 };
    const draw = (count: number, seed: number): Float64Array => randomNormal(count, seed);
    const length = 75;
    for (const window of [0, 13])
      for (const prefix of [0, 3]) {
        const alone = new PackedScene({ ...options, lengths: [length], prefix, window, seed: 21, query: draw, key: draw, value: draw });
        for (const [before, after] of [
          [1, 0],
          [30, 50],
          [64, 3],
        ] as const) {
          // The document is the second of three, and its seed is that of the one alone.
          const together = new PackedScene({
            ...options,
            lengths: [before, length, after],
            prefix,
            window,
            seed: 11,
            query: draw,
            key: draw,
            value: draw,
          });
          const keys = prefix * 3 + before;
          for (const target of native.cpu().targets) {
            await native.setCpuTarget(target);
            const one = await runOp('self_attention', alone.attend(''));
            const all = await runOp('self_attention', together.attend(''));
            const parts = async (of: PackedScene, { y, lse }: Record<string, Float64Array>): Promise<Record<string, Float64Array>> => {
              const test = of.gradient('');
              const { q } = of.dims;
              return runOp('self_attention_grad', {
                ...test,
                inputs: { ...test.inputs, y: f32(q, y as Float64Array), lse: f32(of.dims.lse, lse as Float64Array) },
              });
            };
            const oneGradient = await parts(alone, one);
            const allGradient = await parts(together, all);
            const perToken = options.heads * options.width;
            const perKey = options.keyHeads * options.width;
            const same = (name: string, a: Float64Array, b: Float64Array) =>
              expect(
                Buffer.from(a.slice().buffer).equals(Buffer.from(b.slice().buffer)),
                `${target}: ${name}, ${before} tokens before`,
              ).toBe(true);
            const slice = (values: Float64Array | undefined, from: number, count: number) =>
              (values as Float64Array).slice(from, from + count);
            same('y', one.y as Float64Array, slice(all.y, before * perToken, length * perToken));
            same('lse', one.lse as Float64Array, slice(all.lse, before * options.heads, length * options.heads));
            same('dq', oneGradient.dq as Float64Array, slice(allGradient.dq, before * perToken, length * perToken));
            for (const name of ['dk', 'dv']) {
              same(
                name,
                slice(oneGradient[name], prefix * perKey, length * perKey),
                slice(allGradient[name], keys * perKey, length * perKey),
              );
              same(
                `${name} of the prefix`,
                slice(oneGradient[name], 0, prefix * perKey),
                slice(allGradient[name], prefix * perKey, prefix * perKey),
              );
            }
          }
        }
      }
  });
});
