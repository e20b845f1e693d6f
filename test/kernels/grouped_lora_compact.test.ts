// Factors in 12 bits a number, which the processor reads with the bits that plain rows give.
import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { checkOp, i32, type OpCase, type Operand, runOp, u8 } from './check_op.ts';
import { dense, type LoraOptions, loraCase, lowRank, network, repeat } from './grouped_lora.case.ts';
import { groupedLora } from './grouped_lora.reference.ts';
import { compacted, withOutliers } from './grouped_lora_compact.case.ts';
import { randomNormal } from './numbers.ts';
import { testedCuda, testsCpu } from './test_devices.ts';

const native = binding();
const best = native.cpu().target;

const narrow: LoraOptions = { inputs: 64, outputs: [96] };
const four = [[lowRank(4)], [lowRank(8, { scale: 2 })], [lowRank(12)], [lowRank(20)]];
const mixture = [
  [0, 1],
  [3, -1],
  [0, 0],
  [2, 3],
];
const cases: OpCase[] = [
  ...[4, 8, 12, 16, 20, 36].map((rank) => loraCase(`rank ${rank}`, [[lowRank(rank)]], [0], narrow)),
  ...[32, 64, 96, 544].map((inputs) => loraCase(`${inputs} inputs`, [[lowRank(16)]], [0, 0], { inputs, outputs: [64] })),
  ...[32, 64, 96, 1056].map((outputs) => loraCase(`${outputs} outputs`, [[lowRank(16)]], [0, 0], { inputs: 64, outputs: [outputs] })),
  loraCase('tiles of every size', four, [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, -1, 0, 0, 0, 0, 0], narrow),
  loraCase('many tokens of one adapter', [[lowRank(16)]], repeat(0, 131), narrow),
  loraCase('more tokens than a block', [[lowRank(4, { shift: true })], [lowRank(20)]], [...repeat(0, 430), ...repeat(1, 5)], {
    inputs: 32,
    outputs: [64],
  }),
  loraCase('ranks beyond one block of rows', [[lowRank(260)], [lowRank(520, { shift: true })]], [0, 1, 1, 0], narrow),
  loraCase('a rank beyond one block of rows for many tokens', [[lowRank(292)]], repeat(0, 100), narrow),
  loraCase('outputs beyond one chunk of columns', [[lowRank(4)], [lowRank(8, { gain: true })]], [0, 1, 1], { inputs: 32, outputs: [8224] }),
  loraCase('outputs beyond one chunk for many tokens', [[lowRank(4)]], repeat(0, 98), { inputs: 32, outputs: [8256] }),
  loraCase('gain with bias and shift', [[lowRank(4, { gain: true, shift: true })], [lowRank(8)]], [0, 0, 1, 0], { ...narrow, bias: true }),
  loraCase('gain at another weight', [[lowRank(4, { gain: true })]], repeat(0, 5), {
    ...narrow,
    bias: true,
    weights: (i) => (i % 2 ? 0.5 : 1),
  }),
  loraCase('two routes', four, mixture, { ...narrow, weights: (i) => 0.25 * (i + 1) }),
  loraCase('sites that share x', [[lowRank(4), lowRank(16), lowRank(8)]], repeat(0, 6), { inputs: 64, outputs: [96, 32, 64], site: 2 }),
  loraCase('beside plain rows', [[lowRank(16), lowRank(3)], [lowRank(5), lowRank(4)], [dense()]], [0, 1, 2, 2, 1, 0, -1], {
    inputs: 64,
    outputs: [32, 32],
  }),
  loraCase('strided rows of x', [[lowRank(16)]], repeat(0, 7), { ...narrow, strided: true }),
];
const outliers = cases.filter(({ name }) => !/rank 4$|^32 |shift|^more|route|shares|beside/.test(name)).map((test) => withOutliers(test));
const all = [...cases, ...outliers].map((plain) => ({ plain, compact: compacted(plain) }));
const plainOf = new Map(all.map(({ plain, compact }) => [compact.inputs.pool, plain.inputs]));

describe('compact rows', () => {
  checkOp('grouped_lora', {
    cases: all.map(({ compact }) => compact),
    reference: (inputs, attrs, outputs) => groupedLora(plainOf.get(inputs.pool) as typeof inputs, attrs, outputs),
    cpuOnly: true,
  });

  describe.skipIf(!testsCpu)('have the bits of plain rows', () => {
    afterAll(() => native.setCpuTarget(best));
    it.each(all.map((test) => [test.plain.name, test] as const))('%s', async (_, { plain, compact }) => {
      for (const target of native.cpu().targets) {
        await native.setCpuTarget(target);
        const [expected, found] = [await runOp('grouped_lora', plain), await runOp('grouped_lora', compact)];
        expect(Buffer.from((found.y as Float64Array).buffer).equals(Buffer.from((expected.y as Float64Array).buffer)), target).toBe(true);
      }
    });
  });

  it('take three quarters of the bytes', () => {
    for (const [count, width] of [
      [16, 2048],
      [4, 5632],
      [12, 256],
    ] as const) {
      const bits = new Uint16Array(new Float32Array(randomNormal(count * width, 3)).buffer).filter((__, i) => i % 2 === 1);
      expect(native.compactRows(bits, count)?.byteLength).toBeLessThan(2 * count * width * 0.8);
    }
  });

  it('are made of no others', () => {
    const ones = (count: number): Uint16Array => new Uint16Array(count).fill(0x3f80);
    expect(native.compactRows(ones(3 * 32), 3)).toBeUndefined();
    expect(native.compactRows(ones(4 * 33), 4)).toBeUndefined();
    expect(native.compactRows(new Uint16Array(0), 1)).toBeUndefined();
    expect(
      native.compactRows(
        Uint16Array.from(randomNormal(4 * 64, 5), (value) => Math.floor(Math.abs(value) * 1e6) % 65_536),
        4,
      ),
    ).toBe(undefined);
    expect(native.compactRows(ones(4 * 32), 4)).toBeInstanceOf(Uint8Array);
    expect(() => native.compactRows(ones(7), 2)).toThrow(/rows of equal width/);
    expect(() => native.compactRows(ones(8), 9)).toThrow(/integer from 1 to 8/);
    expect(() => native.compactRows(new Uint8Array(8) as unknown as Uint16Array, 2)).toThrow(/Uint16Array/);
  });
});

/** A case whose entry or tables were changed after its rows were made compact. */
function changed(
  name: string,
  error: RegExp,
  change: (entry: Int32Array, rows: Int32Array) => void,
  options: { cut?: number; test?: OpCase } = {},
): OpCase {
  const test = options.test ?? compacted(loraCase(name, [[lowRank(20)]], [0, 0], narrow));
  const { entries, rows, pool } = test.inputs as Record<string, Operand>;
  const table = Int32Array.from((entries as Operand).values);
  const addresses = Int32Array.from((rows as Operand).values);
  change(table, addresses);
  const bytes = Uint8Array.from((pool as Operand).values).slice(0, ((pool as Operand).dims[0] as number) - (options.cut ?? 0));
  const inputs = {
    ...test.inputs,
    entries: i32((entries as Operand).dims, table),
    rows: i32([addresses.length], addresses),
    pool: u8([bytes.length], bytes),
  };
  return { ...test, name, inputs, error };
}

const outside = /do not all lie inside/;
const shape = /has compact rows, dtype .*: expected low-rank bf16/;
const entryOf = (what: Parameters<typeof loraCase>[1]): OpCase => loraCase('', what, [0, 0], narrow);
describe('compact rows that cannot be', () => {
  checkOp('grouped_lora', {
    cases: [
      ...[0, 1].flatMap((factor) => [
        changed(`factor ${factor} behind the table`, outside, (entry, rows) => {
          entry[3 + factor] = rows.length - 1;
        }),
        changed(`factor ${factor} before the table`, outside, (entry) => {
          entry[3 + factor] = -1;
        }),
        changed(`a group of factor ${factor} at a negative address`, outside, (entry, rows) => {
          rows[entry[3 + factor] as number] = -1;
        }),
        changed(`a whole group of factor ${factor} ends behind the pool`, outside, (entry, rows) => {
          rows[entry[3 + factor] as number] = rows.at(-1) as number;
        }),
      ]),
      changed('the last group ends behind the pool', outside, () => {}, { cut: 1 }),
      changed('a rank of 18', shape, (entry) => {
        entry[2] = 18;
      }),
      changed('a rank of 0', shape, (entry) => {
        entry[2] = 0;
      }),
      changed('no bf16', shape, (entry) => {
        entry[1] = 513;
      }),
      changed('in groups too', shape, (entry) => {
        entry[1] = 512 + 256 + 2;
      }),
      changed(
        'inputs that are no whole lines',
        shape,
        (entry) => {
          entry[1] = 514;
        },
        { test: loraCase('', [[lowRank(4)]], [0], { inputs: 33, outputs: [64] }) },
      ),
      changed(
        'outputs that are no whole lines',
        shape,
        (entry) => {
          entry[1] = 514;
        },
        { test: loraCase('', [[lowRank(4)]], [0], { inputs: 64, outputs: [47] }) },
      ),
      changed(
        'a whole weight',
        /dtype 514/,
        (entry) => {
          entry[1] = 514;
        },
        { test: entryOf([[dense()]]) },
      ),
      ...(['parallel', 'series'] as const).map((kind) =>
        changed(
          `a network, ${kind}`,
          shape,
          (entry) => {
            entry[1] = 514;
          },
          { test: entryOf([[network(kind, 4, 1, { dtype: 'bf16' })]]) },
        ),
      ),
    ],
    reference: groupedLora,
    cpuOnly: true,
  });

  it.skipIf(!testsCpu)('are read within their memory, whatever their lists say', async () => {
    const test = compacted(withOutliers(loraCase('', [[lowRank(16)]], repeat(0, 5), { inputs: 64, outputs: [32] })));
    const { pool, rows } = test.inputs as { pool: Operand; rows: Operand };
    const lists = (rows.values.at(-1) as number) * 64;
    for (let i = 0; i < 200; i++) {
      const values = Float64Array.from(pool.values);
      const noise = randomNormal(60, 100 + i);
      for (let j = 0; j < noise.length; j += 2) {
        const at = lists + 16 + (Math.floor(Math.abs(noise[j] as number) * 1e6) % (values.length - lists - 16));
        values[at] = Math.floor(Math.abs(noise[j + 1] as number) * 1e5) % 256;
      }
      // So many exceptions as a list can say, in every unit.
      values.set(new Array(12).fill(255), lists + 16);
      await runOp('grouped_lora', { ...test, inputs: { ...test.inputs, pool: { ...pool, values } } });
    }
  });

  it.skipIf(testedCuda === undefined)('are refused by a CUDA device', async () => {
    const test = compacted(loraCase('', [[lowRank(16)]], [0, 0], narrow));
    await expect(runOp('grouped_lora', test, testedCuda)).rejects.toThrow(/dtype 514/);
  });
});
