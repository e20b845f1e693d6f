import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { checkOp, f32, i32, type OpCase, type Operand, type Reference, runOp, u8 } from './check_op.ts';
import { groupedLora } from './grouped_lora.reference.ts';
import { AdapterScene, type AdapterSite, routes } from './grouped_lora.scene.ts';
import { groupedLoraGradFactors, groupedLoraGradWeight, groupedLoraGradX } from './grouped_lora_grad.reference.ts';

type Slots = readonly (number | readonly number[])[];
type Adapters = readonly (readonly (AdapterSite | undefined)[])[];

interface Options {
  inputs?: number;
  outputs?: number[];
  site?: number;
  weights?: (i: number) => number;
  strided?: boolean;
  /** Multiplies dy. */
  size?: number;
}

const lowRank = (rank: number, more: Partial<AdapterSite> = {}): AdapterSite => ({ kind: 'lowRank', dtype: 'f32', rank, ...more });
const repeat = <T>(value: T, count: number): T[] => new Array<T>(count).fill(value);
const cycle = (slots: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => slots[i % slots.length] as number);

const unitsOf = (pool: Operand): number => Math.ceil((pool.dims[0] as number) / 64);

/** Every operand of the three gradients; one adapter per slot, with `adapters[slot][s]` at site s. */
function operandsOf(adapters: Adapters, slots: Slots, options: Options = {}): Record<string, Operand> {
  const { inputs = 33, outputs = [47], site = 0, strided = false, size = 1 } = options;
  const scene = new AdapterScene(Math.max(1, adapters.length), site + outputs.length + 1);
  adapters.forEach((sites, slot) => {
    sites.forEach((what, s) => {
      if (what !== undefined) scene.set(slot, site + s, inputs, outputs[s] as number, what);
    });
  });
  const columns = [0];
  for (const n of outputs) columns.push((columns.at(-1) as number) + n);
  const tokens = slots.length;
  const make = (width: number): Operand => (strided ? f32.strided([tokens, width], width + 3) : f32([tokens, width]));
  const dy = make(columns.at(-1) as number);
  const tables = scene.lay().operands();
  const routing = routes(slots, options.weights);
  return {
    x: make(inputs),
    dy: { ...dy, values: Float64Array.from(dy.values, (v) => Math.fround(v * size)) },
    dx: make(inputs),
    dweight: f32(routing.index.dims),
    gradients: f32([unitsOf(tables.pool) * 16]),
    ...routing,
    ...tables,
    columns: i32([columns.length], columns),
  };
}

const operandNames = {
  grouped_lora_grad_x: { dy: 'dy', base: 'dx', weight: 'weight' },
  grouped_lora_grad_factors: { x: 'x', dy: 'dy', gradients: 'gradients', weight: 'weight' },
  grouped_lora_grad_weight: { x: 'x', dy: 'dy', base: 'dweight' },
} as const;
type GradientOp = keyof typeof operandNames;

function caseOf(op: GradientOp, name: string, operands: Record<string, Operand>, site: number, error?: RegExp): OpCase {
  const pick: Record<string, Operand> = {};
  for (const [operand, source] of Object.entries(operandNames[op])) pick[operand] = operands[source] as Operand;
  for (const operand of ['index', 'entries', 'rows', 'pool', 'columns']) pick[operand] = operands[operand] as Operand;
  const dx = operands.dx as Operand;
  const dy = operands.dy as Operand;
  const units = (operands.gradients as Operand).dims[0] as number;
  return {
    name,
    inputs: pick,
    attrs: { site },
    // Gradients of factors are judged unit by unit of the pool, those of weights as one row.
    outputs: {
      grouped_lora_grad_x: { dx: { dtype: 'f32' as const, dims: dx.dims } },
      grouped_lora_grad_factors: { accumulated: { dtype: 'f32' as const, dims: [units / 16, 16] } },
      grouped_lora_grad_weight: { dweight: { dtype: 'f32' as const, dims: [1, (operands.dweight as Operand).values.length] } },
    }[op] as OpCase['outputs'] & object,
    reduction: (dx.dims[1] as number) + (dy.dims[1] as number) + (dx.dims[0] as number),
    ...(error && { error }),
  };
}

const ranks: Adapters = [[lowRank(1)], [lowRank(3)], [lowRank(8, { scale: 2 })], [lowRank(100)]];
const three: Options = { inputs: 40, outputs: [48, 24, 24], site: 2 };

const scenes: [name: string, adapters: Adapters, slots: Slots, options?: Options][] = [
  ['one token, one adapter', [[lowRank(16)]], [0]],
  ['one adapter for all', [[lowRank(16)]], repeat(0, 11)],
  ['tiles of every size in one block', [[lowRank(7)]], repeat(0, 47)],
  ['several blocks and pieces of tokens', [[lowRank(16)], [lowRank(2)]], [...repeat(0, 131), ...repeat(1, 50)], { inputs: 70 }],
  ['ranks 1, 3, 8 and 100 side by side', ranks, [0, 1, 2, 3, 3, 3, -1, 2, 2, 0]],
  ['a different adapter for each token', ranks, cycle([3, 1, 0, 2], 19)],
  ['adapters mixed with tokens of none', ranks, [...repeat(2, 20), -1, ...repeat(3, 20), ...repeat(-1, 9), ...repeat(2, 20)]],
  ['no adapter anywhere', ranks, repeat(-1, 5)],
  ['no tokens', ranks, []],
  ['columns beyond one chunk', [[lowRank(5)], [lowRank(16)]], [0, 0, 1, 1, 1, 1, 1], { inputs: 611, outputs: [1027] }],
  ['width 1', [[lowRank(2)]], [0, -1, 0], { inputs: 1, outputs: [1] }],
  ['rank beyond every block', [[lowRank(300)], [lowRank(65)]], [0, 1, 0, 0]],
  ['rank 0 with a shift', [[lowRank(0, { shift: true })]], [0, 0, -1]],
  ['rank 0 without anything', [[lowRank(0)]], [0]],
  ['factors and a shift', [[lowRank(4, { shift: true })], [lowRank(70, { shift: true })]], [0, 0, 1, 0]],
  ['three sites that share x', [[lowRank(4), lowRank(8), lowRank(2)]], repeat(0, 6), three],
  ['adapters that miss sites', [[lowRank(4), undefined, lowRank(2)], [undefined, lowRank(3)], []], [0, 1, 2, 1, 1, 0], three],
  ['a site of no outputs', [[lowRank(4), lowRank(3)]], repeat(0, 3), { outputs: [20, 0] }],
  [
    'two routes',
    ranks,
    [
      [0, 1],
      [0, 1],
      [2, -1],
      [-1, 3],
      [-1, -1],
    ],
    { weights: (i) => 0.25 * (i + 1) },
  ],
  [
    'the same adapter twice',
    [[lowRank(4)]],
    [
      [0, 0],
      [0, 0],
    ],
    { weights: (i) => i - 0.5 },
  ],
  [
    'rows inside wider tensors',
    [
      [lowRank(4), lowRank(2)],
      [lowRank(1), lowRank(3)],
    ],
    [0, 0, 1, 1, 1, -1],
    { outputs: [19, 30], strided: true },
  ],
  ['tiny gradients', [[lowRank(4)]], repeat(0, 9), { size: 1e-30 }],
  ['huge gradients', [[lowRank(4, { shift: true })]], repeat(0, 9), { size: 1e30 }],
];

const references: Record<GradientOp, Reference> = {
  grouped_lora_grad_x: groupedLoraGradX,
  grouped_lora_grad_factors: groupedLoraGradFactors,
  grouped_lora_grad_weight: groupedLoraGradWeight,
};
const gradientOps = Object.keys(operandNames) as GradientOp[];

for (const op of gradientOps)
  checkOp(op, {
    cases: scenes.map(([name, adapters, slots, options]) => caseOf(op, name, operandsOf(adapters, slots, options), options?.site ?? 0)),
    reference: references[op],
  });

describe('frozen factors of 16 bits', () => {
  const adapters: Adapters = [[lowRank(6, { dtype: 'bf16' })], [lowRank(3, { dtype: 'f16', shift: true })]];
  const cases = (op: GradientOp): OpCase[] => [caseOf(op, 'let gradients through', operandsOf(adapters, [0, 1, 1, 0, -1]), 0)];
  for (const op of ['grouped_lora_grad_x', 'grouped_lora_grad_weight'] as const)
    checkOp(op, { cases: cases(op), reference: references[op] });
});

describe('the definitions themselves', () => {
  // y is linear in each single number, so a difference of any size is the derivative but for rounding.
  const operands = operandsOf(
    [[lowRank(3, { shift: true }), lowRank(2)], [lowRank(1)]],
    [
      [0, 1],
      [1, -1],
      [0, 0],
    ],
    { inputs: 5, outputs: [4, 6], site: 1, weights: (i) => 0.5 + i },
  );
  const site = 1;
  const base = f32((operands.dy as Operand).dims);
  const loss = (changed: Record<string, Operand>): number => {
    const { y } = groupedLora({ ...operands, base, ...changed }, { site }, {}) as { y: Float64Array };
    return y.reduce((sum, v, i) => sum + v * ((operands.dy as Operand).values[i] as number), 0);
  };
  const zero = (operand: Operand): Operand => ({ ...operand, values: new Float64Array(operand.values.length) });
  const moved = (name: string, i: number, step: number): Record<string, Operand> => {
    const operand = operands[name] as Operand;
    const values = operand.values.slice();
    values[i] = (values[i] as number) + step;
    return { [name]: { ...operand, values } };
  };
  const run = (op: GradientOp, into: string): Float64Array => {
    const test = caseOf(op, '', { ...operands, [into]: zero(operands[into] as Operand) }, site);
    return Object.values(references[op](test.inputs, { site }, {}))[0] as Float64Array;
  };

  for (const [op, into, name] of [
    ['grouped_lora_grad_x', 'dx', 'x'],
    ['grouped_lora_grad_weight', 'dweight', 'weight'],
  ] as const)
    it(`${op} is the difference quotient`, () => {
      const gradient = run(op, into);
      for (let i = 0; i < gradient.length; i++) {
        // A route of slot -1 has no derivative.
        const expected = loss(moved(name, i, 1)) - loss({});
        expect(gradient[i], `${name}[${i}]`).toBeCloseTo(expected, 9);
      }
    });

  it('grouped_lora_grad_factors is the difference quotient, row by row', () => {
    const gradient = run('grouped_lora_grad_factors', 'gradients');
    const pool = operands.pool as Operand;
    let checked = 0;
    for (let i = 0; i < Math.floor((pool.dims[0] as number) / 4); i++) {
      const bytes = Uint8Array.from(pool.values);
      const floats = new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
      const before = floats[i] as number;
      if (Number.isNaN(before)) {
        expect(gradient[i], `element ${i} is no row's`).toBe(0);
        continue;
      }
      floats[i] = before + 1;
      const step = (floats[i] as number) - before;
      const expected = (loss({ pool: u8(pool.dims, bytes) }) - loss({})) / step;
      expect(gradient[i], `element ${i}`).toBeCloseTo(expected, 9);
      checked++;
    }
    // A and B of ranks 3, 2 and 1 on 5 inputs and 4, 6 and 4 outputs, and a shift.
    expect(checked).toBe(3 * 9 + 2 * 11 + 1 * 9 + 4);
  });
});

const native = binding();
const { threads, target: best } = native.cpu();

async function everywhere(body: () => Promise<void>): Promise<void> {
  for (const target of native.cpu().targets)
    for (const count of [1, 2]) {
      await native.setCpuTarget(target);
      native.setThreads(count);
      await body();
    }
}

const bytesOf = (values: Float64Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

function expectSameBits(actual: Float64Array, expected: Float64Array, what: string): void {
  expect(bytesOf(actual).equals(bytesOf(expected)), `bits of ${what}`).toBe(true);
}

const only = (operand: Operand, tokens: readonly number[]): Operand => {
  const width = operand.dims[1] as number;
  const values = new Float64Array(tokens.length * width);
  tokens.forEach((t, i) => {
    values.set(operand.values.subarray(t * width, (t + 1) * width), i * width);
  });
  return { dtype: operand.dtype, dims: [tokens.length, width], values };
};
const perToken = ['x', 'dy', 'dx', 'dweight', 'index', 'weight'];
const withTokens = (operands: Record<string, Operand>, tokens: readonly number[]): Record<string, Operand> => ({
  ...operands,
  ...Object.fromEntries(perToken.map((name) => [name, only(operands[name] as Operand, tokens)])),
});

describe('equal bits', () => {
  afterAll(async () => {
    native.setThreads(threads);
    await native.setCpuTarget(best);
  });

  // Adapter 1 has tokens in many places; adapters 0 and 2 are its neighbours.
  const slots = Array.from({ length: 150 }, (_, t) => (t % 7 === 3 ? -1 : t < 60 ? 1 : t % 3));
  const adapters: Adapters = [
    [lowRank(5), lowRank(2)],
    [lowRank(70, { shift: true }), lowRank(16)],
    [lowRank(3), undefined],
  ];
  const operands = operandsOf(adapters, slots, { inputs: 67, outputs: [77, 31], weights: (i) => (i % 3 === 0 ? 1 : 0.7) });
  const run = async (op: GradientOp, what: Record<string, Operand>): Promise<Float64Array> =>
    Object.values(await runOp(op, caseOf(op, '', what, 0)))[0] as Float64Array;
  const mine = slots.flatMap((slot, t) => (slot === 1 ? [t] : []));

  // Elements of the gradients that belong to slot 1.
  const owned = (): number[] => {
    const entries = (operands.entries as Operand).values;
    const addresses = (operands.rows as Operand).values;
    const found: number[] = [];
    const row = (index: number, width: number): void => {
      for (let i = 0; i < width; i++) found.push((addresses[index] as number) * 16 + i);
    };
    for (let site = 0; site < 2; site++) {
      const entry = entries.subarray((3 + site) * 8, (4 + site) * 8);
      for (let r = 0; r < (entry[2] as number); r++) {
        row((entry[3] as number) + r, 67);
        row((entry[4] as number) + r, site === 0 ? 77 : 31);
      }
      if ((entry[5 + 1] as number) >= 0) row(entry[6] as number, 77);
    }
    return found;
  };

  it('gives an adapter the same gradients alone and among others', async () => {
    const elements = owned();
    expect(elements.length).toBe(70 * (67 + 77) + 77 + 16 * (67 + 31));
    await everywhere(async () => {
      const together = await run('grouped_lora_grad_factors', operands);
      const alone = await run('grouped_lora_grad_factors', withTokens(operands, mine));
      const taken = (all: Float64Array): Float64Array => Float64Array.from(elements, (i) => all[i] as number);
      expectSameBits(taken(together), taken(alone), 'the gradients of slot 1');
    });
  });

  it('adds up over launches as over the tokens of one launch', async () => {
    await everywhere(async () => {
      const whole = await run('grouped_lora_grad_factors', operands);
      let gradients = operands.gradients as Operand;
      for (const [from, to] of [
        [0, 41],
        [41, 42],
        [42, 150],
      ] as const) {
        const part = withTokens(operands, slots.map((_, t) => t).slice(from, to));
        gradients = { ...gradients, values: await run('grouped_lora_grad_factors', { ...part, gradients }) };
      }
      expectSameBits(gradients.values, whole, 'the sums of three launches');
    });
  });

  it('leaves every element that is no row of the batch as it was', async () => {
    const before = (operands.gradients as Operand).values;
    const elements = new Set(owned());
    const after = await run('grouped_lora_grad_factors', withTokens(operands, mine));
    const wrong = Array.from(before.keys()).filter((i) => elements.has(i) === Object.is(after[i], before[i]));
    expect(wrong).toEqual([]);
  });

  for (const op of ['grouped_lora_grad_x', 'grouped_lora_grad_weight'] as const)
    it(`gives a token the same ${op === 'grouped_lora_grad_x' ? 'dx' : 'dweight'} alone and among others`, async () => {
      await everywhere(async () => {
        const together = await run(op, operands);
        const width = together.length / slots.length;
        for (const t of [0, 1, 3, 47, 48, 59, 60, 61, 149]) {
          const alone = await run(op, withTokens(operands, [t]));
          expectSameBits(together.subarray(t * width, (t + 1) * width), alone, `token ${t}`);
        }
      });
    });

  for (const [shape, sites, inputs, outputs] of [
    ['ranks beyond a block', [lowRank(258), lowRank(19, { dtype: 'bf16', shift: true })], 270, 70],
    ['columns beyond a block', [lowRank(3), lowRank(5, { dtype: 'bf16', shift: true })], 37, 1030],
  ] as const)
    it(`gives a token the same y among a few tokens of its adapter and among many: ${shape}`, async () => {
      const many = operandsOf(
        [[sites[0]], [sites[1]], [lowRank(4, { dtype: 'f16', gain: true })], [lowRank(0, { shift: true })]],
        [...repeat([0, 1], 101), ...repeat([1, 0], 50), ...repeat([2, 0], 30), ...repeat([3, -1], 19), ...repeat([1, 1], 70)],
        { inputs, outputs: [outputs], weights: (i) => (i % 5 === 0 ? 1 : 0.3) },
      );
      const forward = async (what: Record<string, Operand>): Promise<Float64Array> => {
        const { x, dy: base, index, weight, entries, rows, pool, columns } = what;
        const test: OpCase = { name: '', inputs: { x, base, index, weight, entries, rows, pool, columns }, attrs: { site: 0 } };
        return (await runOp('grouped_lora', test)).y as Float64Array;
      };
      await everywhere(async () => {
        const together = await forward(many);
        for (const tokens of [[0], [99, 100, 101, 102], [149, 150, 151], [180, 181], [199, 200], [268, 269]]) {
          const few = await forward(withTokens(many, tokens));
          tokens.forEach((t, i) => {
            const alone = few.subarray(i * outputs, (i + 1) * outputs);
            expectSameBits(together.subarray(t * outputs, (t + 1) * outputs), alone, `token ${t}`);
          });
        }
      });
    });
});

describe('refusals', () => {
  const refused = (
    op: GradientOp,
    name: string,
    error: RegExp,
    change: (scene: AdapterScene) => void,
    tensors: Record<string, Operand> = {},
    what: AdapterSite = lowRank(4, { shift: true }),
  ): OpCase => {
    const scene = new AdapterScene(2, 2).set(0, 1, 32, 40, what);
    change(scene.lay());
    const tables = scene.operands();
    const operands = {
      x: f32([2, 32]),
      dy: f32([2, 40]),
      dx: f32([2, 32]),
      dweight: f32([2, 1]),
      gradients: f32([unitsOf(tables.pool) * 16]),
      ...routes([0, 0]),
      ...tables,
      columns: i32([2], [0, 40]),
      ...tensors,
    };
    return caseOf(op, name, operands, 1, error);
  };

  for (const op of gradientOps)
    checkOp(op, {
      cases: [
        refused(op, 'a slot that does not exist', /slot 2: expected -1 to 1/, () => {}, { index: i32([2, 1], [0, 2]) }),
        refused(op, 'an unknown kind', /kind 3/, (scene) => scene.spoil(0, 1, 0, 3)),
        refused(op, 'a dtype of no float', /dtype 3/, (scene) => scene.spoil(0, 1, 1, 3)),
        refused(op, 'a negative rank', /rank -1/, (scene) => scene.spoil(0, 1, 2, -1)),
        refused(op, 'a gain', /has a gain/, () => {}, {}, lowRank(4, { gain: true })),
        refused(op, 'a whole weight', /whole weight/, () => {}, {}, { kind: 'dense', dtype: 'f32' }),
        refused(op, 'rows of A before the table', /rows -1 to 3/, (scene) => scene.spoil(0, 1, 3, -1)),
        refused(op, 'rows of B behind the table', /do not all lie inside/, (scene) => scene.spoil(0, 1, 4, 7)),
        refused(op, 'a shift behind the table', /shift row 9/, (scene) => scene.spoil(0, 1, 6, 9)),
        ...[-1, 2 ** 31 - 1, -(2 ** 31)].map((address) =>
          refused(op, `a row at address ${address}`, /do not all lie inside/, (scene) => {
            scene.rows[2] = address;
          }),
        ),
        refused(op, 'columns that descend', /columns/, () => {}, { columns: i32([3], [0, 20, 10]) }),
        refused(op, 'columns behind dy', /columns 0 to 41/, () => {}, { columns: i32([2], [0, 41]) }),
        refused(op, 'more sites than there are', /sites 1 to 3 of 2/, () => {}, { columns: i32([3], [0, 20, 40]) }),
        refused(op, 'an index for fewer tokens', /index/, () => {}, {
          index: i32([1, 1], [0]),
          weight: f32([1, 1]),
          dweight: f32([1, 1]),
        }),
      ],
      reference: references[op],
    });

  const last = (scene: AdapterScene): number => Math.max(...scene.rows);
  checkOp('grouped_lora_grad_factors', {
    cases: [
      refused('grouped_lora_grad_factors', 'factors of 16 bits', /has factors in bf16/, () => {}, {}, lowRank(4, { dtype: 'bf16' })),
      refused('grouped_lora_grad_factors', 'gradients for less than the pool', /whose gradients do not all lie inside/, () => {}, {
        gradients: f32([64]),
      }),
      refused('grouped_lora_grad_factors', 'no gradients at all', /whose gradients do not all lie inside/, () => {}, {
        gradients: f32([0]),
      }),
      refused('grouped_lora_grad_factors', 'two rows at one address', /overlaps/, (scene) => {
        scene.rows[0] = scene.rows[1] as number;
      }),
      refused('grouped_lora_grad_factors', 'rows that overlap by one unit', /overlaps/, (scene) => {
        const end = last(scene);
        for (let i = 0; i < scene.rows.length; i++) if (scene.rows[i] === end) scene.rows[i === 0 ? 1 : 0] = end - 1;
      }),
      refused('grouped_lora_grad_factors', 'A and B of the same rows', /overlaps|has too/, (scene) => scene.spoil(0, 1, 3, 4)),
    ],
    reference: groupedLoraGradFactors,
  });
});
