import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { cpu } from '../../lib/runtime/device.js';
import { checkOp, f32, i32, type OpCase, type Operand, runOp, u8 } from './check_op.ts';
import { groupedEmbedding } from './grouped_lora.reference.ts';
import { AdapterScene, type AdapterSite, routes } from './grouped_lora.scene.ts';
import { groupedEmbeddingGradFactors } from './grouped_lora_grad.reference.ts';
import { testedDevices } from './test_devices.ts';

type Slots = readonly (number | readonly number[])[];

interface Options {
  vocabulary?: number;
  width?: number;
  weights?: (i: number) => number;
  error?: RegExp;
  change?: (scene: AdapterScene) => void;
  tensors?: Record<string, Operand>;
}

const lowRank = (rank: number, more: Partial<AdapterSite> = {}): AdapterSite => ({ kind: 'lowRank', dtype: 'f32', rank, ...more });
const dense = (more: Partial<AdapterSite> = {}): AdapterSite => ({ kind: 'dense', dtype: 'f32', ...more });
const cycle = (values: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => values[i % values.length] as number);

function gradientCase(name: string, adapters: readonly AdapterSite[], slots: Slots, ids: number[], options: Options = {}): OpCase {
  const { vocabulary = 50, width = 21 } = options;
  const scene = new AdapterScene(adapters.length, 3);
  adapters.forEach((what, slot) => {
    scene.set(slot, 1, vocabulary, width, what, 'embedding');
  });
  scene.lay();
  options.change?.(scene);
  const tables = scene.operands();
  const units = Math.ceil((tables.pool.dims[0] as number) / 64);
  return {
    name,
    inputs: {
      ids: i32([ids.length], ids),
      dy: f32([ids.length, width]),
      gradients: f32([units * 16]),
      ...routes(slots, options.weights),
      ...tables,
      ...options.tensors,
    },
    attrs: { site: 1 },
    outputs: { accumulated: { dtype: 'f32', dims: [units, 16] } },
    reduction: width + ids.length,
    ...(options.error && { error: options.error }),
  };
}

const shared: [readonly AdapterSite[], Slots, number[], Options] = [
  [lowRank(4), dense(), lowRank(70, { shift: true })],
  [
    [0, 1],
    [1, 2],
    [2, 2],
    [-1, 0],
    [2, 0],
  ],
  [5, 6, 5, 5, -1],
  { weights: (i) => 0.2 * (i + 1) },
];

checkOp('grouped_embedding_grad_factors', {
  cases: [
    gradientCase('low rank', [lowRank(6), lowRank(1)], [0, 0, 1, -1, 1], [3, 49, 0, 7, 12]),
    gradientCase('an id that comes again and again', [lowRank(6, { shift: true }), lowRank(3)], cycle([0, 0, 1], 130), cycle([7, 3], 130)),
    gradientCase('a vocabulary of several pieces', [lowRank(3)], [0, 0, 0, 0], [4095, 4096, 8192, 9000], { vocabulary: 9001 }),
    gradientCase('rank beyond one pass', [lowRank(130)], [0, 0, 0], [1, 2, 1]),
    gradientCase('rank 0 with a shift', [lowRank(0, { shift: true })], [0, -1, 0], [1, 2, 3]),
    gradientCase('own rows', [dense(), dense({ shift: true })], [0, 1, 1, -1, 1], [0, 49, 5, 5, 5]),
    gradientCase('two routes of all kinds', ...shared),
    gradientCase('columns beyond one chunk', [lowRank(4), dense()], cycle([0, 1, -1], 20), cycle([1, 2, 3, 4], 20), { width: 613 }),
    gradientCase(
      'more ids than share a place',
      [lowRank(3), dense({ shift: true })],
      cycle([0, 1], 700),
      cycle(
        Array.from({ length: 350 }, (_, i) => (i * 11) % 333),
        700,
      ),
      {
        vocabulary: 333,
        width: 140,
      },
    ),
    gradientCase('a negative id is no token', [lowRank(4), dense()], [0, 1, 0, 1], [-1, -1, 3, 4]),
    gradientCase('negative ids alone', [lowRank(4)], [0, 0], [-1, -5]),
    gradientCase('no adapter anywhere', [lowRank(4)], [-1, -1], [0, 1]),
    gradientCase('no tokens', [lowRank(4)], [], []),
    gradientCase('an id without a row of its own', [dense()], [0], [50], { error: /none for token id 50/ }),
    gradientCase('an id behind the pieces', [lowRank(4)], [0], [2 ** 31 - 1], { error: /do not all lie inside/ }),
    gradientCase('a slot that does not exist', [lowRank(4)], [1], [0], { error: /slot 1/ }),
    gradientCase('a gain', [lowRank(4, { gain: true })], [0], [0], { error: /has a gain/ }),
    gradientCase('factors of 16 bits', [lowRank(4, { dtype: 'f16' })], [0], [0], { error: /has factors in f16/ }),
    gradientCase('own rows of 16 bits', [dense({ dtype: 'bf16' })], [0], [0], { error: /has factors in bf16/ }),
    gradientCase('gradients for less than the pool', [lowRank(4)], [0], [49], {
      tensors: { gradients: f32([32]) },
      error: /whose gradients do not all lie inside/,
    }),
    gradientCase('two rows of A at one address', [lowRank(4)], [0], [3], {
      change: (scene) => {
        scene.rows[1] = scene.rows[0] as number;
      },
      error: /overlaps/,
    }),
    gradientCase('own rows that overlap by half', [dense({ shift: true })], [0, 0], [3, 4], {
      width: 32,
      change: (scene) => {
        scene.rows[4] = (scene.rows[3] as number) + (scene.rows[3] === 0 ? 1 : -1);
      },
      error: /overlaps/,
    }),
    gradientCase('a row at a negative address', [lowRank(4)], [0], [3], {
      change: (scene) => {
        scene.rows[2] = -1;
      },
      error: /do not all lie inside/,
    }),
    gradientCase('ids for fewer tokens', [lowRank(4)], [0, 0], [3, 4], { tensors: { ids: i32([1], [3]) }, error: /dy/ }),
  ],
  reference: groupedEmbeddingGradFactors,
});

it('is the difference quotient of the forward definition', () => {
  const test = gradientCase('', ...shared);
  const operands = test.inputs as Record<string, Operand>;
  const { dy, pool, gradients } = operands as { dy: Operand; pool: Operand; gradients: Operand };
  const base = f32(dy.dims);
  const loss = (bytes: Uint8Array): number => {
    const { y } = groupedEmbedding({ ...operands, base, pool: u8(pool.dims, bytes) }, { site: 1 }, {}) as { y: Float64Array };
    return y.reduce((sum, v, i) => sum + v * (dy.values[i] as number), 0);
  };
  const start = { ...gradients, values: new Float64Array(gradients.values.length) };
  const found = groupedEmbeddingGradFactors({ ...operands, gradients: start }, { site: 1 }, {}).accumulated as Float64Array;
  const before = loss(Uint8Array.from(pool.values));
  let felt = 0;
  for (let i = 0; i < Math.floor((pool.dims[0] as number) / 4); i++) {
    const bytes = Uint8Array.from(pool.values);
    const floats = new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
    const value = floats[i] as number;
    if (Number.isNaN(value)) {
      expect(found[i], `element ${i} is no row's`).toBe(0);
      continue;
    }
    floats[i] = value + 1;
    const expected = (loss(bytes) - before) / ((floats[i] as number) - value);
    expect(found[i], `element ${i}`).toBeCloseTo(expected, 8);
    if (found[i] !== 0) felt++;
  }
  // Columns of A for ids 5 and 6, B^T and a shift, and the own rows of ids 5 and 6.
  expect(felt).toBe(4 * 22 + 2 * 21 + 70 * (2 + 21) + 21);
});

describe('equal bits', () => {
  const native = binding();
  const { threads, target: best } = native.cpu();
  afterAll(async () => {
    native.setThreads(threads);
    await native.setCpuTarget(best);
  });

  it('gives an adapter the same gradients whatever its neighbours do', async () => {
    const slots = Array.from({ length: 140 }, (_, t) => (t < 50 ? 0 : t % 3));
    const ids = Array.from({ length: 140 }, (_, t) => (t * 5) % 11);
    const whole = gradientCase('', [lowRank(9), lowRank(5, { shift: true }), dense()], slots, ids, { width: 35 });
    const { index } = whole.inputs as { index: Operand };
    const lonely = (slot: number): OpCase => ({
      ...whole,
      inputs: { ...whole.inputs, index: { ...index, values: index.values.map((s) => (s === slot ? s : -1)) } },
    });
    const before = (whole.inputs.gradients as Operand).values;
    for (const device of testedDevices)
      for (const target of device === cpu ? native.cpu().targets : [best])
        for (const count of device === cpu ? [1, 2] : [1]) {
          await native.setCpuTarget(target);
          native.setThreads(count);
          const run = async (test: OpCase): Promise<Float64Array> =>
            (await runOp('grouped_embedding_grad_factors', test, device)).accumulated as Float64Array;
          const together = await run(whole);
          const alone: Float64Array[] = [];
          for (const slot of [0, 1, 2]) alone.push(await run(lonely(slot)));
          // Every element belongs to one adapter at most: what it made of it alone, it made of it together.
          const expected = before.map((v, i) => alone.find((values) => !Object.is(values[i], v))?.[i] ?? v);
          expect(Buffer.from(together.buffer).equals(Buffer.from(expected.buffer)), `${device.name}, ${target}, ${count} threads`).toBe(
            true,
          );
        }
  });
});
