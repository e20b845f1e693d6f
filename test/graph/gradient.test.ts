// Gradients are graphs: what the walk builds for sums, products, views, slices, segments and accumulating state.
import { describe, expect, it } from 'vitest';
import { compile, emptyTensor, gradient, graph, OptionError, ops, type Tensor, tensor } from '../../lib/index.js';
import { randomNormal } from '../kernels/numbers.js';

const { add, concatColumns, mul, scale } = ops;
const values = (count: number, seed: number): Float32Array => Float32Array.from(randomNormal(count, seed));

async function run(outputs: Record<string, Tensor>, g: ReturnType<typeof graph>, inputs: Record<string, Float32Array>) {
  const program = compile(g, { outputs });
  const result = await program.run(inputs);
  program.dispose();
  return result as Record<string, Float32Array>;
}

describe('gradient', () => {
  it('adds up what several users of a tensor contribute', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [2, 3]);
    const up = g.input('up', 'f32', [2, 3]);
    const y = add(mul(x, x), scale(x, 3));
    const [dx] = gradient(y, [x], { upstream: up }) as [Tensor];
    const data = { x: values(6, 1), up: values(6, 2) };
    const { dx: got } = await run({ dx }, g, data);
    data.x.forEach((v, i) => {
      expect((got as Float32Array)[i]).toBeCloseTo((2 * v + 3) * (data.up[i] as number), 5);
    });
  });

  it('joins gradients of slices of columns, with zeros in gaps and sums where they overlap', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [2, 7]);
    const left = x.columns(1, 3);
    const right = x.columns(2, 6);
    const up = g.input('up', 'f32', [2, 6]);
    const y = concatColumns([left, right]);
    const [dx] = gradient(y, [x], { upstream: up }) as [Tensor];
    const data = { x: values(14, 1), up: values(12, 2) };
    const { dx: got } = await run({ dx }, g, data);
    for (let r = 0; r < 2; r++)
      for (let c = 0; c < 7; c++) {
        const a = c >= 1 && c < 3 ? (data.up[r * 6 + c - 1] as number) : 0;
        const b = c >= 2 && c < 6 ? (data.up[r * 6 + 2 + c - 2] as number) : 0;
        expect((got as Float32Array)[r * 7 + c]).toBeCloseTo(a + b, 5);
      }
  });

  it('takes a reshape between two matrices for what it is, no slice of columns', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [5, 4]);
    const y = x.reshape([10, 2]);
    expect(y.strided).toBe(false);
    const [dx] = gradient(scale(y, 3), [x], { upstream: g.input('up', 'f32', [10, 2]) }) as [Tensor];
    const data = { x: values(20, 1), up: values(20, 2) };
    const got = await run({ dx, y: scale(y, 1) }, g, data);
    expect(got.y).toEqual(data.x);
    expect(got.dx).toEqual(data.up.map((v) => v * 3));
  });

  it('gives zeros for a parameter that the loss does not depend on, and for a detached one', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [1, 3]);
    const other = g.input('other', 'f32', [2, 2]);
    const y = mul(x, x.detach());
    const [dx, dOther] = gradient(y, [x, other], { upstream: g.input('up', 'f32', [1, 3]) }) as [Tensor, Tensor];
    const data = { x: values(3, 1), up: values(3, 2), other: values(4, 3) };
    const got = await run({ dx, dOther }, g, data);
    expect(Array.from(got.dOther as Float32Array)).toEqual([0, 0, 0, 0]);
    data.x.forEach((v, i) => {
      expect((got.dx as Float32Array)[i]).toBeCloseTo(v * (data.up[i] as number), 5);
    });
  });

  it('adds to state where it is told to, run after run', async () => {
    const g = graph();
    const w = tensor('f32', [1, 3], Float32Array.of(1, 2, 3));
    const held = emptyTensor('f32', [1, 3]);
    const parameter = g.parameter('w', w);
    const y = scale(parameter, 2);
    const into = new Map([[parameter, g.state('dw', held)]]);
    const [dw] = gradient(y, [parameter], { upstream: g.input('up', 'f32', [1, 3]), into }) as [Tensor];
    const program = compile(g, { outputs: { dw } });
    await program.run({ up: Float32Array.of(1, 1, 1) });
    const { dw: got } = await program.run({ up: Float32Array.of(1, 2, 3) });
    expect(Array.from(got as Float32Array)).toEqual([4, 6, 8]);
    program.dispose();
  });

  it('computes the results of segments again with the same bits and less memory', async () => {
    const depth = 16;
    const build = (recompute: boolean) => {
      const g = graph();
      const x = g.input('x', 'f32', [64, 64]);
      let y = x;
      for (let layer = 0; layer < depth; layer++)
        y = g.segment(layer, () => {
          const a = mul(y, y);
          const b = mul(a, scale(a, 0.5));
          return add(y, scale(mul(b, a), 0.01));
        });
      const [dx] = gradient(y, [x], {
        upstream: g.input('up', 'f32', [64, 64]),
        ...(recompute && { recompute: { group: (segment: number) => segment } }),
      }) as [Tensor];
      return compile(g, { outputs: { dx } });
    };
    const data = { x: values(4096, 1).map((v) => v * 0.5), up: values(4096, 2) };
    const kept = build(false);
    const again = build(true);
    expect(await again.run(data)).toEqual(await kept.run(data));
    expect(again.memory.arenaBytes).toBeLessThan(kept.memory.arenaBytes * 0.7);
    kept.dispose();
    again.dispose();
  });

  it('refuses frozen weights, losses of many elements, ops without a gradient', () => {
    const g = graph();
    const x = g.input('x', 'f32', [2, 3]);
    const frozen = g.weight('frozen', tensor('f32', [2, 3], new Float32Array(6)));
    expect(() => gradient(mul(x, frozen), [frozen], { upstream: x })).toThrow("'frozen' is a frozen weight and gets no gradient");
    expect(() => gradient(mul(x, frozen), [x])).toThrow('loss is [2, 3]: expected one element, or an upstream gradient');
    expect(() => gradient(ops.softmaxGrad(x, x), [x], { upstream: x })).toThrow(OptionError);
    const elsewhere = graph().input('x', 'f32', [2, 3]);
    expect(() => gradient(x, [x, elsewhere], { upstream: x })).toThrow('gradient: parameters[1] belongs to another graph than loss');
  });
});
