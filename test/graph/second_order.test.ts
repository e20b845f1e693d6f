// Gradients of gradients through whole chains of layers, against finite differences in float64 and as compiled programs.
import { describe, expect, it } from 'vitest';
import { lower } from '../../lib/graph/compile.js';
import { compile, type Graph, gradient, graph, OptionError, ops, type Tensor } from '../../lib/index.js';
import { randomNormal } from '../kernels/numbers.ts';
import { Float64Graph } from './evaluate_float64.ts';

const { add, embedding, layerNorm, logSoftmax, matmul, mul, reduce, rmsNorm, rope, scale, softmax, tokenLogprob } = ops;

interface Chain {
  readonly loss: Tensor;
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** Values of inputs that are no parameters. */
  readonly given: Readonly<Record<string, ArrayLike<number>>>;
}

const count = (tensor: Tensor): number => (tensor.shape as number[]).reduce((n, d) => n * d, 1);
const asRow = (x: Tensor): Tensor => x.reshape([count(x)]).reshape([1, count(x)]);
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((sum, v, i) => sum + v * (b[i] as number), 0);

/** Differentiates twice: the gradient of sum_p <direction_p, d loss / d p>, which is the Hessian times the directions. */
async function checkTwice(build: (g: Graph) => Chain): Promise<void> {
  const g = graph();
  const { loss, parameters, given } = build(g);
  const names = Object.keys(parameters);
  const tensors = Object.values(parameters);
  const first = gradient(loss, tensors, { differentiable: true });
  const directions = tensors.map((tensor, i) => g.input(`direction of ${names[i]}`, 'f32', tensor.shape as number[]));
  const along = first.map((tensor, i) => reduce(asRow(mul(tensor, directions[i] as Tensor)), 'sum')).reduce((a, b) => add(a, b));
  const second = gradient(along, tensors);

  const values: Record<string, ArrayLike<number>> = { ...given };
  tensors.forEach((tensor, i) => {
    values[names[i] as string] = Float32Array.from(randomNormal(count(tensor), 10 + i), (v) => 0.5 * v);
    values[`direction of ${names[i]}`] = Float32Array.from(randomNormal(count(tensor), 50 + i));
  });
  const exactLoss = await Float64Graph.of([loss]);
  const exactFirst = await Float64Graph.of(first);
  const gradients = exactFirst.run(values);
  const curvature = (await Float64Graph.of(second)).run(values);

  for (let p = 0; p < names.length; p++) {
    const name = names[p] as string;
    const towards = randomNormal(count(tensors[p] as Tensor), 90 + p);
    const moved = (by: number) => ({
      ...values,
      [name]: Array.from(values[name] as ArrayLike<number>, (v, i) => v + by * (towards[i] as number)),
    });
    // Central differences at two steps, their errors of second order taken out.
    const slope = (f: (at: Record<string, ArrayLike<number>>) => number): number => {
      const central = (h: number): number => (f(moved(h)) - f(moved(-h))) / (2 * h);
      return (4 * central(5e-4) - central(1e-3)) / 3;
    };
    const near = (found: number, wanted: number, what: string): void => {
      expect(Math.abs(found - wanted), `${what} of ${name}: ${wanted}, finite differences give ${found}`).toBeLessThanOrEqual(
        1e-7 * (1 + Math.abs(wanted)),
      );
    };
    near(
      slope((at) => exactLoss.run(at)[0]?.[0] as number),
      dot(gradients[p] as Float64Array, towards),
      'first derivative',
    );
    const weightedGradient = (at: Record<string, ArrayLike<number>>): number =>
      exactFirst.run(at).reduce((sum, part, i) => sum + dot(part, values[`direction of ${names[i]}`] as ArrayLike<number>), 0);
    near(slope(weightedGradient), dot(curvature[p] as Float64Array, towards), 'second derivative');
    // A derivative that is zero for want of a path would pass the comparison.
    expect(Math.max(...(curvature[p] as Float64Array).map(Math.abs)), `curvature along ${name}`).toBeGreaterThan(1e-6);
  }

  const fused = gradient(loss, tensors);
  const outputs = Object.fromEntries(
    names.flatMap((name, i) => [
      [`first ${name}`, fused[i] as Tensor],
      [`second ${name}`, second[i] as Tensor],
    ]),
  );
  using program = compile(g, { outputs });
  const taken = new Set(lower(g, { outputs }).inputs.map(({ name }) => name));
  const got = await program.run(
    Object.fromEntries(Object.entries(values).filter(([name]) => taken.has(name))) as Parameters<typeof program.run>[0],
  );
  names.forEach((name, p) => {
    for (const [what, exact] of [
      ['first', gradients[p]],
      ['second', curvature[p]],
    ] as [string, Float64Array][]) {
      const size = Math.sqrt(dot(exact, exact));
      const off = Math.sqrt((got[`${what} ${name}`] as Float32Array).reduce((sum, v, i) => sum + (v - (exact[i] as number)) ** 2, 0));
      expect(off, `${what} gradient of ${name} as a program`).toBeLessThanOrEqual(2e-5 * size);
    }
  });
}

const meanLoss = (logits: Tensor, target: Tensor): Tensor =>
  scale(reduce(tokenLogprob(logits, target).reshape([1, logits.shape[0] as number]), 'mean'), -1);

const [tokens, width, rank, vocabulary] = [5, 6, 2, 7];

describe('gradients of gradients', () => {
  it('norm, low-rank factors, cross-entropy', () =>
    checkTwice((g) => {
      const parameters = {
        x: g.input('x', 'f32', [tokens, width]),
        norm: g.input('norm', 'f32', [width]),
        a: g.input('a', 'f32', [rank, width]),
        b: g.input('b', 'f32', [width, rank]),
        head: g.input('head', 'f32', [vocabulary, width]),
      };
      const { x, norm, a, b, head } = parameters;
      const h = rmsNorm(x, norm, { eps: 1e-5, weightOffset: 1 });
      const y = add(h, matmul(matmul(h, a, { transposeB: true }), b, { transposeB: true }));
      const loss = meanLoss(matmul(y, head, { transposeB: true }), g.input('target', 'i32', [tokens]));
      return { loss, parameters, given: { target: Int32Array.of(3, 0, -1, 6, 3) } };
    }));

  it('a table, layer norm, attention with rotation', () =>
    checkTwice((g) => {
      const heads = 2;
      const parameters = {
        table: g.input('table', 'f32', [vocabulary, 8]),
        norm: g.input('norm', 'f32', [8]),
        bias: g.input('bias', 'f32', [8]),
        q: g.input('q', 'f32', [8, 8]),
        k: g.input('k', 'f32', [8, 8]),
      };
      const { table, norm, bias, q, k } = parameters;
      const h = layerNorm(embedding(g.input('ids', 'i32', [tokens]), table), norm, bias, { eps: 1e-5 });
      const angles = g.input('angles', 'f32', [tokens, 4]);
      const turned = (weight: Tensor): Tensor =>
        ops.swapAxes(rope(matmul(h, weight).reshape([tokens, heads, 4]), angles, { interleaved: weight === k }));
      const scores = scale(matmul(turned(q), turned(k), { transposeB: true }), 0.5);
      const mixed = matmul(softmax(scores), ops.swapAxes(h.reshape([tokens, heads, 4])));
      const y = ops.swapAxes(mixed).reshape([tokens, 8]);
      const loss = reduce(asRow(mul(y, mul(y, g.input('weights', 'f32', [tokens, 8])))), 'sum');
      const angle = randomNormal(tokens * 2, 7);
      return {
        loss,
        parameters,
        given: {
          ids: Int32Array.of(2, 6, 2, 0, 5),
          weights: Float32Array.from(randomNormal(tokens * 8, 5)),
          angles: Float32Array.from({ length: tokens * 4 }, (_, i) => {
            const at = angle[Math.floor(i / 4) * 2 + (i % 2)] as number;
            return i % 4 < 2 ? Math.cos(at) : Math.sin(at);
          }),
        },
      };
    }));

  it('log softmax of vectors, gathered rows', () =>
    checkTwice((g) => {
      const x = g.input('x', 'f32', [4, 9]);
      const vector = g.input('vector', 'f32', [9]);
      const rows = ops.gatherRows(x, g.input('rows', 'i32', [3]));
      const y = logSoftmax(ops.scaleColumns(rows, rmsNorm(vector, undefined, { eps: 1e-3 })));
      const loss = reduce(asRow(mul(y, mul(y, y))), 'sum');
      return { loss, parameters: { x, vector }, given: { rows: Int32Array.of(3, 1, 3) } };
    }));

  it('names the op where a fused gradient is differentiated', () => {
    const g = graph();
    const x = g.input('x', 'f32', [2, 3]);
    const [dx] = gradient(softmax(x), [x], { upstream: g.input('up', 'f32', [2, 3]) }) as [Tensor];
    expect(() => gradient(dx, [x], { upstream: x })).toThrow(OptionError);
    expect(() => gradient(dx, [x], { upstream: x })).toThrow('[softmax_grad]');
  });

  it('refuses to train a table that is no plain f32 matrix', () => {
    const g = graph();
    const table = g.input('table', 'bf16', [7, 4]);
    const y = embedding(g.input('ids', 'i32', [2]), table);
    expect(() => gradient(y, [table], { upstream: y })).toThrow('[embedding] weight is bf16 [7, 4]: only a table f32');
  });
});
