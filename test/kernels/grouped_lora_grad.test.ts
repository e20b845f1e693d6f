import { describe, expect, it } from 'vitest';
import { checkOp, f32, i32, type OpCase, type Operand, type Reference, u8 } from './check_op.ts';
import { inGroups } from './grouped_lora.case.ts';
import { groupedLora } from './grouped_lora.reference.ts';
import { AdapterScene, type AdapterSite, routes } from './grouped_lora.scene.ts';
import { groupedLoraGradFactors, groupedLoraGradWeight, groupedLoraGradX } from './grouped_lora_grad.reference.ts';
import {
  type Adapters,
  caseOf,
  cycle,
  type GradientOp,
  type GradientScene,
  gradientOps,
  lowRank,
  operandsOf,
  repeat,
  type Slots,
  unitsOf,
} from './grouped_lora_grad.scene.ts';

const ranks: Adapters = [[lowRank(1)], [lowRank(3)], [lowRank(8, { scale: 2 })], [lowRank(100)]];
const three: GradientScene = { inputs: 40, outputs: [48, 24, 24], site: 2 };

const scenes: [name: string, adapters: Adapters, slots: Slots, options?: GradientScene][] = [
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
  [
    'ranks that end at a pass',
    [[lowRank(64)], [lowRank(64, { shift: true })], [lowRank(63, { shift: true })], [lowRank(128)]],
    cycle([0, 1, 2, 3], 9),
  ],
  ['ranks of every size of tile', [[lowRank(16)], [lowRank(17)], [lowRank(32)], [lowRank(33)], [lowRank(48)]], cycle([0, 1, 2, 3, 4], 70)],
  [
    'rows that lie at multiples of 16 bytes',
    [[lowRank(9), lowRank(40, { shift: true })]],
    repeat(0, 37),
    { inputs: 260, outputs: [132, 64] },
  ],
  [
    'many adapters in many places',
    Array.from({ length: 40 }, (_, slot) => [lowRank(1 + (slot % 3))]),
    Array.from({ length: 2500 }, (_, t) => ((t * 7919) % 43) - 1).map((slot) => (slot < 40 ? slot : -1)),
    { inputs: 5, outputs: [6] },
  ],
  ['tiny gradients', [[lowRank(4)]], repeat(0, 9), { size: 1e-30 }],
  ['huge gradients', [[lowRank(4, { shift: true })]], repeat(0, 9), { size: 1e30 }],
];

const references: Record<GradientOp, Reference> = {
  grouped_lora_grad_x: groupedLoraGradX,
  grouped_lora_grad_factors: groupedLoraGradFactors,
  grouped_lora_grad_weight: groupedLoraGradWeight,
};

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

// Factors that are trained lie row by row.
describe('rows of B in groups, and compact rows,', () => {
  for (const op of gradientOps) {
    const grouped = inGroups(caseOf(op, 'are refused', operandsOf([[lowRank(18, { dtype: 'f32' })]], [0, 0]), 0));
    const operands = operandsOf([[lowRank(4, { dtype: 'bf16' })]], [0, 0], { inputs: 64, outputs: [32] });
    const { dims, values } = operands.entries as Operand;
    const entries = i32(
      dims,
      values.map((value, i) => (i === 1 ? 514 : value)),
    );
    const compact = caseOf(op, 'are refused if compact', { ...operands, entries }, 0);
    checkOp(op, {
      cases: [
        { ...grouped, error: /dtype 256/ },
        { ...compact, error: /dtype 514/ },
      ],
      reference: references[op],
    });
  }
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
      refused(
        'grouped_lora_grad_factors',
        'two rows at one address',
        /slot 0 at site 1 has a row that overlaps one of slot 0 at site 1/,
        (scene) => {
          scene.rows[0] = scene.rows[1] as number;
        },
      ),
      refused('grouped_lora_grad_factors', 'rows that overlap by one unit', /overlaps/, (scene) => {
        const end = last(scene);
        for (let i = 0; i < scene.rows.length; i++) if (scene.rows[i] === end) scene.rows[i === 0 ? 1 : 0] = end - 1;
      }),
      refused('grouped_lora_grad_factors', 'A and B of the same rows', /overlaps|has too/, (scene) => scene.spoil(0, 1, 3, 4)),
    ],
    reference: groupedLoraGradFactors,
  });
});
