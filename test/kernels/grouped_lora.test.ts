import { describe, expect, it } from 'vitest';
import { checkOp, f32, i32, type OpCase, type Operand, runOp } from './check_op.ts';
import { dense, loraCase, lowRank, network, type Slots } from './grouped_lora.case.ts';
import { cycle, loraCases } from './grouped_lora.cases.ts';
import { groupedEmbedding, groupedLora, groupedNorm, groupedPrompt } from './grouped_lora.reference.ts';
import { AdapterScene, type AdapterSite, routes } from './grouped_lora.scene.ts';
import { testsCpu } from './test_devices.ts';

checkOp('grouped_lora', { cases: loraCases, reference: groupedLora });

function refusal(
  name: string,
  error: RegExp,
  change: (scene: AdapterScene) => void,
  slots: Slots = [0, 0],
  tensors: Partial<Record<string, Operand>> = {},
): OpCase {
  const scene = new AdapterScene(2, 2).set(0, 1, 32, 40, lowRank(4, { gain: true, shift: true }));
  change(scene.lay());
  return {
    name,
    inputs: {
      x: f32([slots.length, 32]),
      base: f32([slots.length, 40]),
      ...routes(slots),
      ...scene.operands(),
      columns: i32([2], [0, 40]),
      ...tensors,
    },
    attrs: { site: 1 },
    outputs: { y: { dtype: 'f32', dims: [slots.length, 40] } },
    error,
  };
}

describe('refusals', () => {
  checkOp('grouped_lora', {
    cases: [
      refusal('a slot that does not exist', /slot 2: expected -1 to 1/, () => {}, [0, 2]),
      refusal('a slot below -1', /slot -2/, () => {}, [-2, 0]),
      refusal('an unknown kind', /kind 5: expected 0 to 4/, (scene) => scene.spoil(0, 1, 0, 5)),
      refusal('an unknown function', /function 6: expected 0 to 5/, (scene) => scene.spoil(0, 1, 0, 3).spoil(0, 1, 5, 6)),
      refusal('a network in series that is too large', /series of size 8193: expected at most 8192/, (scene) =>
        scene.spoil(0, 1, 0, 4).spoil(0, 1, 2, 8193).spoil(0, 1, 5, 0),
      ),
      refusal('rows of a network behind the table', /do not all lie inside/, (scene) =>
        scene.spoil(0, 1, 0, 3).spoil(0, 1, 4, 7).spoil(0, 1, 5, 0),
      ),
      refusal('a dtype of no float', /dtype 3/, (scene) => scene.spoil(0, 1, 1, 3)),
      refusal('a negative rank', /rank -1/, (scene) => scene.spoil(0, 1, 2, -1)),
      refusal('more ranks than rows', /rows 0 to 100000 /, (scene) => scene.spoil(0, 1, 2, 100_000)),
      refusal('rows of A before the table', /rows -1 to 3/, (scene) => scene.spoil(0, 1, 3, -1)),
      refusal('rows of A behind the table', /do not all lie inside/, (scene) => scene.spoil(0, 1, 3, 2 ** 31 - 2)),
      refusal('rows of B behind the table', /do not all lie inside/, (scene) => scene.spoil(0, 1, 4, 7)),
      refusal('a gain behind the table', /gain row 10/, (scene) => scene.spoil(0, 1, 5, 10)),
      refusal('a shift below -1', /shift row -2/, (scene) => scene.spoil(0, 1, 6, -2)),
      refusal('a whole weight of too few rows', /4 dense rows: expected 40/, (scene) => scene.spoil(0, 1, 0, 2)),
      ...[-1, 2 ** 31 - 1, -(2 ** 31)].map((address) =>
        refusal(`a row at address ${address}`, /do not all lie inside/, (scene) => {
          scene.rows[2] = address;
        }),
      ),
      // Rows lie in any order: the last one may be of a factor, the gain or the shift.
      refusal('a row that ends behind the pool', /do not all lie inside|expected -1 or a row inside the pool/, (scene) => {
        scene.bytes = scene.bytes.slice(0, -1);
      }),
      refusal('columns that descend', /columns/, () => {}, [0, 0], { columns: i32([3], [0, 20, 10]) }),
      refusal('columns behind base', /columns 0 to 41/, () => {}, [0, 0], { columns: i32([2], [0, 41]) }),
      refusal('more sites than there are', /sites 1 to 3 of 2/, () => {}, [0, 0], { columns: i32([3], [0, 20, 40]) }),
      refusal('entries of another shape', /entries/, () => {}, [0, 0], { entries: i32([2, 2, 7]) }),
      refusal('a bias of another length', /base_bias/, () => {}, [0, 0], { baseBias: f32([39]) }),
      refusal('an index for fewer tokens', /index/, () => {}, [0, 0], { index: i32([1, 1], [0]), weight: f32([1, 1]) }),
    ],
    reference: groupedLora,
  });
});

describe.skipIf(!testsCpu)('tokens never influence each other', () => {
  const adapters = [
    [lowRank(16)],
    [lowRank(3, { gain: true, shift: true })],
    [dense()],
    [lowRank(200, { dtype: 'f32' })],
    [network('series', 9, 3)],
    [network('parallel', 9, 5)],
  ];
  const slots = [
    [0, -1],
    [0, -1],
    [0, -1],
    [1, 0],
    [1, 0],
    [2, -1],
    [2, -1],
    [2, -1],
    [2, -1],
    [2, -1],
    [3, 1],
    [-1, -1],
    [4, -1],
    [4, -1],
    [4, -1],
    [4, -1],
    [4, -1],
    [4, 5],
    [5, -1],
    [5, -1],
  ];
  const whole = loraCase('', adapters, slots, { inputs: 131, outputs: [77], bias: true, weights: (i) => (i % 3 === 0 ? 1 : 0.7) });

  it('has the same bits alone and in company', async () => {
    const together = (await runOp('grouped_lora', whole)).y as Float64Array;
    const rowOf = ({ dtype, dims, values }: Operand, t: number): Operand => ({
      dtype,
      dims: [1, dims[1] as number],
      values: values.slice(t * (dims[1] as number), (t + 1) * (dims[1] as number)),
    });
    for (let t = 0; t < slots.length; t++) {
      const inputs = { ...whole.inputs };
      for (const name of ['x', 'base', 'index', 'weight']) inputs[name] = rowOf(inputs[name] as Operand, t);
      const alone = (await runOp('grouped_lora', { ...whole, inputs })).y as Float64Array;
      expect(Array.from(together.subarray(t * 77, (t + 1) * 77)), `token ${t}`).toEqual(Array.from(alone));
    }
  });

  it('leaves tokens without an adapter as they were, to the bit', async () => {
    const y = (await runOp('grouped_lora', whole)).y as Float64Array;
    expect(y.subarray(11 * 77, 12 * 77)).toEqual((whole.inputs.base as Operand).values.subarray(11 * 77, 12 * 77));
  });
});

function embeddingCase(
  name: string,
  adapters: readonly AdapterSite[],
  slots: Slots,
  ids: number[],
  options: { vocabulary?: number; width?: number; weights?: (i: number) => number; error?: RegExp } = {},
): OpCase {
  const { vocabulary = 50, width = 21 } = options;
  const scene = new AdapterScene(adapters.length, 3);
  adapters.forEach((what, slot) => {
    scene.set(slot, 1, vocabulary, width, what, 'embedding');
  });
  return {
    name,
    inputs: { ids: i32([ids.length], ids), base: f32([ids.length, width]), ...routes(slots, options.weights), ...scene.lay().operands() },
    attrs: { site: 1 },
    outputs: { y: { dtype: 'f32', dims: [ids.length, width] } },
    reduction: 256,
    ...(options.error && { error: options.error }),
  };
}

checkOp('grouped_embedding', {
  cases: [
    embeddingCase('low rank', [lowRank(6), lowRank(1, { dtype: 'f16' })], [0, 0, 1, -1, 1], [3, 49, 0, 7, 12]),
    embeddingCase('a vocabulary of several pieces', [lowRank(3)], [0, 0, 0, 0], [4095, 4096, 8192, 9000], { vocabulary: 9001 }),
    embeddingCase('rank beyond one block', [lowRank(300)], [0, 0], [1, 2]),
    embeddingCase('gain and shift', [lowRank(4, { gain: true, shift: true })], [0, -1, 0], [1, 2, 3]),
    embeddingCase('own rows', [dense({ dtype: 'f32' }), dense()], [0, 1, 1, -1], [0, 49, 5, 5]),
    embeddingCase(
      'two routes',
      [lowRank(4), dense(), lowRank(2, { gain: true })],
      [
        [0, 1],
        [1, 2],
        [2, 2],
      ],
      [5, 6, 7],
      { weights: (i) => 0.2 * (i + 1) },
    ),
    embeddingCase('many tokens', [lowRank(4), dense()], cycle([0, 1, -1], 40), cycle([1, 2, 3, 4], 40), { width: 130 }),
    embeddingCase('no tokens', [lowRank(4)], [], []),
    embeddingCase('an id without a row of its own', [dense()], [0], [50], { error: /none for token id 50/ }),
    embeddingCase('an id behind the pieces', [lowRank(4)], [0], [2 ** 31 - 1], { error: /do not all lie inside/ }),
    embeddingCase('a negative id is no token', [lowRank(4), dense()], [0, 1, 0, 1], [-1, -1, 3, 4]),
    embeddingCase('a slot that does not exist', [lowRank(4)], [1], [0], { error: /slot 1/ }),
  ],
  reference: groupedEmbedding,
});

function normCase(
  name: string,
  width: number,
  slots: Slots,
  options: {
    kind?: 'rms' | 'layer';
    offset?: number;
    heads?: number;
    weights?: (i: number) => number;
    what?: AdapterSite;
    error?: RegExp;
  } = {},
): OpCase {
  const shape = [slots.length, ...(options.heads === undefined ? [] : [options.heads]), width];
  const scene = new AdapterScene(3, 2);
  scene.set(0, 1, width, width, options.what ?? dense({ dtype: 'f32' }), 'norm');
  scene.set(1, 1, width, width, dense({ dtype: 'f32', shift: true }), 'norm');
  return {
    name,
    inputs: {
      x: f32(shape),
      base: f32(shape),
      ...routes(slots, options.weights),
      ...scene.lay().operands(),
    },
    attrs: { site: 1, kind: options.kind ?? 'rms', eps: 1e-5, weightOffset: options.offset ?? 0 },
    outputs: { y: { dtype: 'f32', dims: shape } },
    reduction: width,
    ...(options.error && { error: options.error }),
  };
}

checkOp('grouped_norm', {
  cases: [
    normCase('root mean square', 48, [0, -1, 1, 2, 0]),
    normCase('with an offset', 37, [0, 1], { offset: 1 }),
    normCase('layer norm with bias', 130, [0, 1, -1], { kind: 'layer' }),
    normCase('width 1', 1, [0, 0]),
    normCase(
      'two routes',
      65,
      [
        [0, 1],
        [1, 2],
        [-1, 0],
      ],
      { weights: (i) => 0.3 * (i + 1) },
    ),
    normCase('many tokens', 96, cycle([0, 1, 2, -1], 30)),
    normCase('heads', 37, [0, -1, 1, 2, 0], { heads: 3, offset: 1 }),
    normCase(
      'heads of several routes',
      64,
      [
        [0, 1],
        [1, 2],
        [-1, 0],
      ],
      { heads: 2, kind: 'layer', weights: (i) => 0.3 * (i + 1) },
    ),
    normCase('no heads', 16, [0, 1], { heads: 0 }),
    normCase('no tokens', 16, []),
    normCase('factors instead of a weight', 16, [0], { what: lowRank(2), error: /one f32 weight row/ }),
    normCase('a weight of 16 bits', 16, [0], { what: dense({ dtype: 'bf16' }), error: /one f32 weight row/ }),
  ],
  reference: groupedNorm,
});

// Slot i has `counts[i]` rows of keys and values.
function promptCase(
  name: string,
  counts: readonly number[],
  slots: Slots,
  more: {
    heads?: number;
    keyHeads?: number;
    width?: number;
    weights?: (i: number) => number;
    keys?: number;
    error?: RegExp;
    spoil?: [number, number];
  } = {},
): OpCase {
  const { heads = 4, keyHeads = 2, width = 13, keys = 1, error, spoil } = more;
  const scene = new AdapterScene(Math.max(1, counts.length), 3);
  counts.forEach((count, slot) => {
    scene.setPrompt(slot, 1, count, keyHeads * width, 0.5 + slot, keys);
  });
  if (spoil !== undefined) scene.spoil(0, 1, ...spoil);
  return {
    name,
    inputs: {
      q: f32([slots.length, heads, width]),
      base: f32([slots.length, heads * width]),
      ...routes(slots, more.weights),
      ...scene.lay().operands(),
    },
    attrs: { site: 1, keyHeads, scale: width ** -0.5 },
    outputs: { y: { dtype: 'f32', dims: [slots.length, heads * width] } },
    reduction: width + Math.max(1, ...counts),
    ...(error && { error }),
  };
}

checkOp('grouped_prompt', {
  cases: [
    promptCase('a few rows', [4, 7], [0, 1, -1, 0, 1]),
    promptCase('one row', [1], [0, 0]),
    promptCase('no rows', [0], [0]),
    promptCase('more rows than are scored at once', [300], [0, -1, 0], { width: 20 }),
    promptCase('large scores', [40, 270], [0, 1], { keys: 60 }),
    promptCase('width 1', [5], [0], { width: 1 }),
    promptCase('one key head', [6], [0, 0, 0], { keyHeads: 1, heads: 3, width: 17 }),
    promptCase('as many key heads as heads', [6], cycle([0, -1], 21), { keyHeads: 5, heads: 5, width: 32 }),
    promptCase(
      'two routes',
      [3, 9],
      [
        [0, 1],
        [1, -1],
        [-1, 0],
      ],
      { weights: (i) => 0.3 * (i + 1) },
    ),
    promptCase('no tokens', [4], []),
    promptCase('nobody has an adapter', [4], [-1, -1]),
    promptCase('heads that cannot be shared', [4], [0], { heads: 4, keyHeads: 3, error: /cannot share 3 key heads/ }),
    promptCase('factors instead of rows', [4], [0], { spoil: [0, 1], error: /does not hold f32 rows of keys and values/ }),
    promptCase('rows of 16 bits', [4], [0], { spoil: [1, 2], error: /does not hold f32 rows/ }),
    promptCase('values outside the pool', [4], [0], { spoil: [4, 6], error: /do not all lie inside the pool/ }),
  ],
  reference: groupedPrompt,
});
