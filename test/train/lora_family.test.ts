// What the methods of the LoRA family promise beyond being trainable: how they begin, and what they reach, on small matrices in float64.
import { describe, expect, it } from 'vitest';
import { invertDamped } from '../../lib/adapters/covariance.js';
import type { AdapterBase, SiteShape } from '../../lib/adapters/method.js';
import { loraScale } from '../../lib/adapters/methods/lora_training.js';
import { trainableMethod } from '../../lib/adapters/methods/trainable.js';
import { singularTriplets } from '../../lib/adapters/singular_vectors.js';
import type { Calibration, MethodSettings, ParameterSpec } from '../../lib/adapters/trainable_method.js';
import { ModelError, OptionError } from '../../lib/errors.js';
import { rejection } from '../engine/driving.js';
import { uniform } from '../kernels/numbers.js';

/** Row-major. */
interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

const matrix = (rows: number, columns: number, value: (r: number, c: number) => number): Matrix => ({
  rows,
  columns,
  data: Float64Array.from({ length: rows * columns }, (_, i) => value(Math.floor(i / columns), i % columns)),
});
const at = ({ columns, data }: Matrix, r: number, c: number): number => data[r * columns + c] as number;
const turned = (m: Matrix): Matrix => matrix(m.columns, m.rows, (r, c) => at(m, c, r));
const plus = (a: Matrix, b: Matrix, factor = 1): Matrix => matrix(a.rows, a.columns, (r, c) => at(a, r, c) + factor * at(b, r, c));
const norm = ({ data }: Matrix): number => Math.sqrt(data.reduce((sum, v) => sum + v * v, 0));
function product(a: Matrix, b: Matrix): Matrix {
  const data = new Float64Array(a.rows * b.columns);
  for (let r = 0; r < a.rows; r++)
    for (let k = 0; k < a.columns; k++)
      for (let c = 0; c < b.columns; c++) data[r * b.columns + c] = (data[r * b.columns + c] as number) + at(a, r, k) * at(b, k, c);
  return { rows: a.rows, columns: b.columns, data };
}

function normals(seed: number): () => number {
  const next = uniform(seed);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

const [outputs, inputs] = [48, 64];
const site: SiteShape = {
  ...{ path: 'layer', kind: 'linear', inputs, outputs, number: 0, weight: 'layer.weight', transposed: false, bias: false },
};
const baseOf = (weight: Matrix): AdapterBase => ({
  name: 'base',
  sites: [site],
  cache: { layers: 1, keyHeads: 1, width: 4 },
  readRows: async (_, first, count) => Float32Array.from(weight.data.subarray(first * inputs, (first + count) * inputs)),
  readBias: async () => new Float32Array(outputs),
});
const settingsOf = (rank: number, more: Partial<MethodSettings> = {}): MethodSettings => ({
  ...{ rank, alpha: rank, rsLora: false, loraPlusRatio: 1, init: undefined, targetModules: 'all-linear', methodOptions: {} },
  ...more,
});
const calibrationOf = (covariance: Matrix, gradient?: Matrix): Calibration => ({
  inputCovariance: async () => covariance.data,
  weightGradient: async () => Float32Array.from(gradient?.data ?? []),
});

function given(specs: readonly ParameterSpec[], part: string): Matrix {
  const spec = specs.find((one) => one.part === part) as ParameterSpec;
  const [rows, columns] = spec.shape as readonly [number, number];
  if (spec.initial.kind !== 'given') throw new Error(`${part} is ${spec.initial.kind}`);
  return { rows, columns, data: Float64Array.from(spec.initial.values) };
}

const random = normals(1);
const weight: Matrix = (() => {
  const exact = matrix(outputs, inputs, () => random() / Math.sqrt(inputs));
  return { ...exact, data: Float64Array.from(Float32Array.from(exact.data)) };
})();

// Inputs that are large along few directions, none of them an axis.
function anisotropic(samples: number): Matrix {
  const mixing = matrix(inputs, inputs, () => random() / Math.sqrt(inputs));
  return product(
    mixing,
    matrix(inputs, samples, (r) => random() * (r + 1) ** -1.5),
  );
}

describe('starts that take a part of the weight', () => {
  const rank = 5;
  const taken = async (init: string, more: Partial<MethodSettings> = {}, calibration?: Calibration, of = rank): Promise<Matrix> => {
    const settings = settingsOf(of, { init, alpha: 2 * of, ...more });
    const specs = await trainableMethod('lora').parameters(settings, site, baseOf(weight), calibration);
    const a = given(specs, 'A');
    const bT = given(specs, 'bT');
    expect(given(specs, 'A0')).toEqual(a);
    expect(plus(given(specs, 'negativeB0T'), bT).data.every((v) => v === 0)).toBe(true);
    expect(specs.map(({ trained }) => trained)).toEqual([true, true, false, false]);
    const scaled = product(turned(bT), a);
    return { ...scaled, data: scaled.data.map((v) => v * loraScale(settings)) };
  };

  it.each([false, true])('pissa takes the leading triplets, evenly shared, rsLoRA %s', async (rsLora) => {
    const { values } = await singularTriplets(Float32Array.from(weight.data), outputs, inputs, outputs);
    const rest = norm(plus(weight, await taken('pissa', { rsLora }), -1));
    expect(rest).toBeCloseTo(Math.sqrt(values.slice(rank).reduce((sum, v) => sum + v * v, 0)), 5);
  });

  it('olora takes Q R of the first columns', async () => {
    const settings = settingsOf(rank, { init: 'olora', alpha: rank });
    const specs = await trainableMethod('lora').parameters(settings, site, baseOf(weight));
    const bT = given(specs, 'bT');
    const gram = product(bT, turned(bT));
    for (let i = 0; i < rank; i++) for (let j = 0; j < rank; j++) expect(at(gram, i, j)).toBeCloseTo(i === j ? 1 : 0, 6);
    const part = product(turned(bT), given(specs, 'A'));
    // The first columns of W lie in Q's span.
    for (let c = 0; c < rank; c++) for (let r = 0; r < outputs; r++) expect(at(part, r, c)).toBeCloseTo(at(weight, r, c), 6);
  });

  describe('corda', () => {
    const x = anisotropic(400);
    const calibration = calibrationOf(product(x, turned(x)));
    const size = norm(product(weight, x));
    const corda = (of: number, mode: string): Promise<Matrix> => taken('corda', { methodOptions: { mode } }, calibration, of);

    it('keeps more of the outputs than singular triplets of W at every rank', async () => {
      for (const of of [8, 16, 32]) {
        const { values, left, right } = await singularTriplets(Float32Array.from(weight.data), outputs, inputs, of);
        const plain = matrix(outputs, inputs, (r, c) =>
          values.reduce((sum, v, i) => sum + v * (left[i]?.[r] as number) * (right[i]?.[c] as number), 0),
        );
        const error = (part: Matrix): number => norm(product(plus(weight, part, -1), x)) / size;
        expect(error(await corda(of, 'ipm')), `rank ${of}`).toBeLessThanOrEqual(0.6 * error(plain));
      }
    });

    it('takes most of the outputs with ipm, next to nothing with kpm, and all at full rank', async () => {
      expect(norm(product(await corda(8, 'ipm'), x)) / size).toBeGreaterThanOrEqual(0.8);
      expect(norm(product(await corda(8, 'kpm'), x)) / size).toBeLessThanOrEqual(0.05);
      for (const mode of ['ipm', 'kpm']) expect(norm(plus(weight, await corda(outputs, mode), -1)) / norm(weight)).toBeLessThan(1e-5);
    });

    it('takes fewer samples than inputs', async () => {
      const few = anisotropic(20);
      const covariance = product(few, turned(few));
      const part = await taken('corda', { methodOptions: { mode: 'ipm' } }, calibrationOf(covariance), outputs);
      expect(norm(plus(weight, part, -1)) / norm(weight)).toBeLessThan(1e-4);
      const { covariance: damped, inverse } = await invertDamped(covariance.data, inputs);
      const one = product({ rows: inputs, columns: inputs, data: damped }, { rows: inputs, columns: inputs, data: inverse });
      expect(
        norm(
          plus(
            one,
            matrix(inputs, inputs, (r, c) => Number(r === c)),
            -1,
          ),
        ),
      ).toBeLessThan(0.05);
    });

    it('refuses inputs that are all zero', async () => {
      const error = await rejection(taken('corda', {}, calibrationOf(matrix(inputs, inputs, () => 0))));
      expect(error).toBeInstanceOf(ModelError);
    });
  });

  it('names ranks, starts and options that do not fit', async () => {
    const lora = trainableMethod('lora');
    const base = baseOf(weight);
    const tooMany = await rejection(lora.parameters(settingsOf(49, { init: 'pissa' }), site, base));
    expect(tooMany).toBeInstanceOf(OptionError);
    expect(tooMany.message).toBe("rank is 49: layer is 48 x 64, and 'pissa' takes directions of it: expected at most 48");
    expect(() => lora.check(settingsOf(4, { init: 'piss' }))).toThrow("init is 'piss': expected default, gaussian, pissa, olora, corda");
    expect(() => lora.check(settingsOf(4, { init: 'corda', methodOptions: { mode: 'both' } }))).toThrow(/methodOptions\.mode is "both"/);
    expect(() => lora.check(settingsOf(4, { methodOptions: { mode: 'ipm' } }))).toThrow(/has no option 'mode'/);
    expect(() => trainableMethod('dylora').check(settingsOf(4, { methodOptions: { exportRank: 5 } }))).toThrow(
      'methodOptions.exportRank is 5: expected at most the rank, 4',
    );
    expect(() => trainableMethod('dylora').check(settingsOf(4, { rsLora: true }))).toThrow(/rsLora is true/);
  });
});

describe('square cores', () => {
  const rank = 8;
  const x = matrix(inputs, 256, () => random());
  // What is to be learned is of low rank but for a little noise.
  const change = product(
    matrix(outputs, 6, () => random() / 8),
    matrix(6, inputs, () => random() / 4),
  );
  const target = plus(
    plus(weight, change),
    matrix(outputs, inputs, () => random() / 200),
  );
  const second = product(x, turned(x));
  // Of the mean of |(W - W*) x|².
  const gradientAt = (w: Matrix): Matrix => {
    const outer = product(plus(w, target, -1), second);
    return { ...outer, data: outer.data.map((v) => (2 * v) / x.columns) };
  };
  const lossAt = (w: Matrix): number => norm(product(plus(w, target, -1), x)) ** 2 / x.columns;

  const begin = async (method: string, options: Record<string, unknown> = {}) => {
    const settings = settingsOf(rank, { methodOptions: options });
    const specs = await trainableMethod(method).parameters(settings, site, baseOf(weight), calibrationOf(weight, gradientAt(weight)));
    const trained = specs.filter((spec) => spec.trained);
    expect(trained.map(({ part, shape }) => [part, ...shape])).toEqual([['R', rank, rank]]);
    const start = trained[0]?.initial as ParameterSpec['initial'];
    const r = start.kind === 'given' ? given(specs, 'R') : matrix(rank, rank, () => 1e-5 * random());
    return { a: given(specs, 'A'), b: turned(given(specs, 'bT')), r };
  };
  const weightOf = ({ a, b, r }: { a: Matrix; b: Matrix; r: Matrix }): Matrix => plus(weight, product(product(b, r), a));

  it('lora-sb begins as the best approximation of a first step', async () => {
    for (const update of ['sign', 'raw']) {
      const stepSize = 0.01;
      const gradient = gradientAt(weight);
      const step = matrix(outputs, inputs, (r, c) => -stepSize * (update === 'sign' ? Math.sign(at(gradient, r, c)) : at(gradient, r, c)));
      const { a, b, r } = await begin('lora-sb', { update, stepSize });
      const { values } = await singularTriplets(step.data, outputs, inputs, outputs);
      const rest = norm(plus(step, product(product(b, r), a), -1)) ** 2;
      const wanted = values.slice(rank).reduce((sum, v) => sum + v * v, 0);
      expect(Math.abs(rest - wanted) / wanted).toBeLessThan(1e-5);
    }
  });

  it('moves R as the full gradient projected on both sides', async () => {
    const { a, b, r } = await begin('lora-sb');
    const gradient = gradientAt(weightOf({ a, b, r }));
    const ofR = product(product(turned(b), gradient), turned(a));
    const moved = product(product(b, ofR), a);
    const projected = product(product(product(b, turned(b)), gradient), product(turned(a), a));
    expect(norm(plus(moved, projected, -1)) / norm(projected)).toBeLessThan(1e-6);
  });

  it('lora-sb ends at half of what lora-xs reaches or less', async () => {
    const reached = async (method: string, options?: Record<string, unknown>): Promise<number> => {
      const { a, b, r } = await begin(method, options);
      const [first, second] = [new Float64Array(rank * rank), new Float64Array(rank * rank)];
      for (let step = 1; step <= 200; step++) {
        const gradient = product(product(turned(b), gradientAt(weightOf({ a, b, r }))), turned(a)).data;
        for (let i = 0; i < r.data.length; i++) {
          const g = gradient[i] as number;
          first[i] = 0.9 * (first[i] as number) + 0.1 * g;
          second[i] = 0.999 * (second[i] as number) + 0.001 * g * g;
          const rate = 0.02 * (1 - step / 201);
          r.data[i] =
            (r.data[i] as number) -
            (rate * ((first[i] as number) / (1 - 0.9 ** step))) / (Math.sqrt((second[i] as number) / (1 - 0.999 ** step)) + 1e-8);
        }
      }
      return lossAt(weightOf({ a, b, r }));
    };
    const xs = await reached('lora-xs');
    expect(xs).toBeLessThan(lossAt(weight));
    for (const update of ['sign', 'raw'])
      expect(await reached('lora-sb', { stepSize: 0.01, update }), update).toBeLessThanOrEqual(0.5 * xs);
  });
});
