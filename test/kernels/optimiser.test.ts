import { describe, expect, it } from 'vitest';
import { compile, emptyTensor, graph, OptionError, ops, ShapeError, type Tensor, tensor, tensorSlice } from '../../lib/index.js';
import { binding } from '../../lib/runtime/binding.js';
import { checkOp, f32, type OpCase, type Operand } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { adamw, clipFactor, sgd, sumSquares } from './optimiser.reference.ts';
import { testsCpu } from './test_devices.ts';

const squares = (name: string, x: Operand, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x },
  outputs: { y: { dtype: 'f32', dims: [1] } },
  ...more,
});
checkOp('sum_squares', {
  cases: [
    ...[[0], [1], [17], [3, 5], [16384], [16385], [100_003], [2_100_003]].map((dims) => squares(`[${dims}]`, f32(dims))),
    squares('large and small', f32([4], [1e15, 1, -1e15, 1e-30])),
    squares('beyond f32', f32([2], [1e20, 1])),
    squares('NaN', f32([3], [1, NaN, 2])),
    squares('a result of two', f32([3]), { outputs: { y: { dtype: 'f32', dims: [2] } }, error: /y is f32 \[2\]/ }),
  ],
  reference: sumSquares,
});

const clip = (name: string, squareSum: number, maxNorm: number, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { squareSum: f32([1], [squareSum]) },
  attrs: { maxNorm },
  outputs: { factor: { dtype: 'f32', dims: [1] } },
  ...more,
});
checkOp('clip_factor', {
  cases: [
    clip('below the limit', 0.25, 1),
    clip('above the limit', 100, 1),
    clip('at the limit', 1, 1),
    clip('zero', 0, 0.5),
    clip('infinite', Number.POSITIVE_INFINITY, 1),
    clip('NaN', Number.NaN, 1),
    clip('no limit', 1, 0, { error: /max_norm is 0.0+: expected a number above 0/ }),
  ],
  reference: clipFactor,
});

const positive = (count: number): Operand =>
  f32(
    [count],
    randomNormal(count, 77).map((v) => v * v),
  );
const applied = { applied: { dtype: 'i32', dims: [1] } } as const;
const moments = { firstShare: 1 - 0.9, secondShare: 1 - 0.999, eps: 1e-8, weightDecay: 0.01, rateScale: 1 };
const step = (name: string, count: number, more: Partial<OpCase> & { attrs?: object; inputs?: object } = {}): OpCase => ({
  name,
  outputs: applied,
  // Old and new may cancel: what is left is judged against what came in.
  absolute: 1e-6,
  ...more,
  inputs: {
    parameters: f32([count]),
    gradients: f32([count]),
    first: f32([count]),
    second: positive(count),
    schedule: f32([3], [1e-3, 0.271, 0.003]),
    ...more.inputs,
  },
  attrs: { ...moments, ...more.attrs },
});
const spoiled = (count: number, where: number, value: number): Operand => {
  const gradients = randomNormal(count, 3);
  gradients[where] = value;
  return f32([count], gradients);
};
checkOp('adamw', {
  cases: [
    ...[0, 1, 7, 16, 33, 16_384, 50_001].map((count) => step(`${count}`, count)),
    step('two dimensions', 12, {
      inputs: { parameters: f32([3, 4]), gradients: f32([3, 4]), first: f32([3, 4]), second: f32.fill([3, 4], 0.5) },
    }),
    step('first step', 20, { inputs: { first: f32.fill([20], 0), second: f32.fill([20], 0), schedule: f32([3], [1e-3, 0.1, 0.001]) } }),
    step('scaled rate and gradients', 20, { inputs: { factor: f32([1], [0.125]) }, attrs: { rateScale: 16 } }),
    step('gradients of zero', 9, { inputs: { gradients: f32.fill([9], 0), second: f32.fill([9], 0), first: f32.fill([9], 0) } }),
    step('tiny and large gradients', 4, { inputs: { gradients: f32([4], [1e-30, 1e18, -1e-10, 1e10]) } }),
    ...[Number.NaN, Number.POSITIVE_INFINITY, -2e19].map((value) =>
      step(`skipped for a gradient of ${value}`, 20_000, { inputs: { gradients: spoiled(20_000, 19_999, value) } }),
    ),
    step('skipped for a factor of NaN', 5, { inputs: { factor: f32([1], [NaN]) } }),
    step('skipped for a factor of infinity', 5, { inputs: { factor: f32([1], [Infinity]), gradients: f32.fill([5], 0) } }),
    step('moments of another shape', 5, { inputs: { second: f32([6]) }, error: /second is f32 \[6\] but parameters is f32 \[5\]/ }),
    step('a step number of zero', 5, {
      inputs: { schedule: f32([3], [1e-3, 0, 0.1]) },
      error: /schedule\[1\], 1 - beta1\^t, is 0.0+: expected more than 0 and at most 1/,
    }),
    step('no rate', 5, { inputs: { schedule: f32([3], [NaN, 1, 1]) }, error: /the rate, is nan: expected a finite number/ }),
    step('too short a schedule', 5, { inputs: { schedule: f32([1]) }, error: /schedule is f32 \[1\]: expected f32 \[3\]/ }),
  ],
  reference: adamw,
});

const descent = (name: string, count: number, more: Partial<OpCase> & { attrs?: object; inputs?: object } = {}): OpCase => ({
  name,
  outputs: applied,
  absolute: 1e-6,
  ...more,
  inputs: { parameters: f32([count]), gradients: f32([count]), velocity: f32([count]), schedule: f32([1], [0.1]), ...more.inputs },
  attrs: { momentum: 0.9, nesterov: false, weightDecay: 0, rateScale: 1, ...more.attrs },
});
checkOp('sgd', {
  cases: [
    ...[0, 1, 7, 33, 16_385].map((count) => descent(`${count}`, count)),
    descent('no momentum', 20, { attrs: { momentum: 0 } }),
    descent('nesterov', 20, { attrs: { nesterov: true } }),
    descent('decay, scaled rate and gradients', 20, { inputs: { factor: f32([1], [0.5]) }, attrs: { weightDecay: 0.01, rateScale: 2 } }),
    descent('skipped for a gradient of NaN', 20, { inputs: { gradients: spoiled(20, 7, NaN) } }),
    descent('velocity of another shape', 5, { inputs: { velocity: f32([4]) }, error: /velocity is f32 \[4\]/ }),
  ],
  reference: sgd,
});

const values = async (held: ReturnType<typeof tensor>, count: number): Promise<Float32Array> =>
  new Float32Array(await held.buffer.read(held.offset, count * 4));

describe.skipIf(!testsCpu)('optimiser programs', () => {
  it('AdamW by hand in float64: ten clipped steps of two groups of one state', async () => {
    const [groups, total] = [[48, 33] as const, 96];
    const [rates, betas, eps, decay, maxNorm] = [[1, 16] as const, [0.9, 0.999] as const, 1e-8, 0.01, 0.5];
    const start = Float32Array.from(randomNormal(total, 1));
    const state = { parameters: tensor('f32', [total], start), gradients: emptyTensor('f32', [total]) };
    const [first, second] = [emptyTensor('f32', [total]), emptyTensor('f32', [total])];
    const g = graph();
    const factor = ops.clipFactor(ops.sumSquares(g.state('gradients', state.gradients)), maxNorm);
    const schedule = g.input('schedule', 'f32', [3]);
    const outputs: Record<string, Tensor> = { factor };
    groups.forEach((count, i) => {
      const slice = (name: string, whole: typeof first) => g.state(`${name} ${i}`, tensorSlice(whole, i * 48, [count]));
      const operands = { first: slice('first', first), second: slice('second', second), schedule, factor };
      const [parameters, gradients] = [
        g.parameter(`p ${i}`, tensorSlice(state.parameters, i * 48, [count])),
        slice('group', state.gradients),
      ];
      outputs[`applied ${i}`] = ops.adamw(
        { parameters, gradients, ...operands },
        { betas, eps, weightDecay: decay, rateScale: rates[i] as number },
      ).applied;
    });
    const program = compile(g, { outputs });

    const p = Float64Array.from(start);
    const [m, v] = [new Float64Array(total), new Float64Array(total)];
    for (let t = 1; t <= 10; t++) {
      const rate = 0.01 / t;
      const raw = Float32Array.from(randomNormal(total, 100 + t).map((x, i) => (i < 81 ? x * 10 ** (i % 5) : 0)));
      void state.gradients.buffer.write(0, raw);
      const got = await program.run({ schedule: ops.adamwSchedule(t, rate, betas) });
      expect([...(got['applied 0'] as Int32Array), ...(got['applied 1'] as Int32Array)]).toEqual([1, 1]);
      const norm = Math.sqrt(raw.reduce((sum, x) => sum + x * x, 0));
      for (let i = 0; i < 81; i++) {
        const gradient = (raw[i] as number) * Math.min(1, maxNorm / (norm + 1e-6));
        const own = rate * (rates[i < 48 ? 0 : 1] as number);
        p[i] = (p[i] as number) * (1 - own * decay);
        m[i] = betas[0] * (m[i] as number) + (1 - betas[0]) * gradient;
        v[i] = betas[1] * (v[i] as number) + (1 - betas[1]) * gradient ** 2;
        const [mean, square] = [(m[i] as number) / (1 - betas[0] ** t), (v[i] as number) / (1 - betas[1] ** t)];
        p[i] = (p[i] as number) - (own * mean) / (Math.sqrt(square) + eps);
      }
    }
    program.dispose();
    const after = await values(state.parameters, total);
    after.forEach((x, i) => {
      expect(Math.abs(x - (p[i] as number)), `parameter ${i}: ${x}, expected ${p[i]}`).toBeLessThan(1e-6);
    });
    expect(after.slice(81)).toEqual(start.slice(81));
  });

  it('leaves the state as it was where gradients are not finite, and says so', async () => {
    const count = 40;
    const start = Float32Array.from(randomNormal(count, 1));
    const [parameters, velocity] = [tensor('f32', [count], start), emptyTensor('f32', [count])];
    const g = graph();
    const gradients = g.input('gradients', 'f32', [count]);
    const { applied } = ops.sgd({
      parameters: g.parameter('parameters', parameters),
      velocity: g.state('velocity', velocity),
      gradients,
      schedule: g.input('rate', 'f32', [1]),
      factor: ops.clipFactor(ops.sumSquares(gradients), 1),
    });
    const program = compile(g, { outputs: { applied } });
    const rate = Float32Array.of(0.1);
    const bad = new Float32Array(count).fill(1);
    bad[39] = Number.POSITIVE_INFINITY;
    expect((await program.run({ gradients: bad, rate })).applied).toEqual(Int32Array.of(0));
    expect(await values(parameters, count)).toEqual(start);
    expect(await values(velocity, count)).toEqual(new Float32Array(count));
    expect((await program.run({ gradients: new Float32Array(count).fill(1), rate })).applied).toEqual(Int32Array.of(1));
    expect(await values(parameters, count)).not.toEqual(start);
    program.dispose();
  });

  it('gives equal bits however a state is cut into slices', async () => {
    const count = 70_000;
    const gradients = Float32Array.from(randomNormal(count, 5));
    const run = async (cut: number, threads: number) => {
      binding().setThreads(threads);
      const held = [1, 2, 3].map((seed) =>
        tensor(
          'f32',
          [count],
          Float32Array.from(randomNormal(count, seed), (x) => (seed === 3 ? x * x : x)),
        ),
      ) as [ReturnType<typeof tensor>, ReturnType<typeof tensor>, ReturnType<typeof tensor>];
      const given = tensor('f32', [count], gradients);
      const g = graph();
      const schedule = g.input('schedule', 'f32', [3]);
      const outputs: Record<string, Tensor> = {};
      for (const [from, to] of [
        [0, cut],
        [cut, count],
      ] as const) {
        const [parameters, first, second] = held.map((whole, i) => g.state(`${i} from ${from}`, tensorSlice(whole, from, [to - from]))) as [
          Tensor,
          Tensor,
          Tensor,
        ];
        const slice = g.state(`gradients from ${from}`, tensorSlice(given, from, [to - from]));
        outputs[`from ${from}`] = ops.adamw({ parameters, first, second, gradients: slice, schedule }).applied;
      }
      const program = compile(g, { outputs });
      await program.run({ schedule: ops.adamwSchedule(3, 0.01) });
      program.dispose();
      return values(held[0], count);
    };
    const { threads } = binding().cpu();
    const once = await run(16, 1);
    expect(await run(33_008, 2)).toEqual(once);
    binding().setThreads(threads);
  });

  it('refuses operands that no step can change, and options out of range', () => {
    const g = graph();
    const x = g.input('x', 'f32', [4]);
    const state = g.state('state', emptyTensor('f32', [4]));
    const schedule = g.input('schedule', 'f32', [1]);
    const step = { gradients: x, schedule };
    expect(() => ops.sgd({ parameters: x, velocity: state, ...step })).toThrow(
      "[sgd] parameters is the input 'x': expected a parameter or state",
    );
    expect(() => ops.sgd({ parameters: state, velocity: ops.add(x, x), ...step })).toThrow('velocity is the result of an op');
    expect(() => ops.sgd({ parameters: g.weight('frozen', emptyTensor('f32', [4])), velocity: state, ...step })).toThrow(
      "the weight 'frozen'",
    );
    expect(() => ops.sgd({ parameters: state, velocity: state, ...step }, { momentum: 1 })).toThrow(
      '[sgd] momentum is 1: expected a number from 0 to less than 1',
    );
    expect(() => ops.adamw({ parameters: state, first: state, second: state, ...step })).toThrow(ShapeError);
    expect(() => ops.adamw({ parameters: state, first: state, second: state, ...step }, { betas: [0.9, 1] })).toThrow('betas[1] is 1');
    expect(() => ops.adamwSchedule(0, 0.1)).toThrow('[adamw] step is 0: expected a whole number from 1 on');
    expect(() => ops.clipFactor(x, 0)).toThrow(OptionError);
  });

  it('refuses slices outside a tensor or off the 64-byte grid', () => {
    const whole = emptyTensor('f32', [64]);
    expect(tensorSlice(tensorSlice(whole, 16, [48]), 16, [4, 8])).toMatchObject({ offset: 128, dims: [4, 8] });
    expect(() => tensorSlice(whole, 32, [33])).toThrow('a slice [33] from element 32 on does not lie within [64]');
    expect(() => tensorSlice(whole, 8, [8])).toThrow('begins at byte 32: expected a multiple of 64');
  });
});
