// Rules of linear and self_attention: first derivatives by the kernels, second ones by the form that is spelled out.
import { describe, expect, it } from 'vitest';
import { compile, gradient, graph, ops, type Tensor } from '../../lib/index.js';
import { tensor } from '../../lib/runtime/device_tensor.js';
import { f32, type Operand } from '../kernels/check_op.ts';
import { linear as linearReference, packWeight } from '../kernels/linear.reference.ts';
import { replaced, toBits } from '../kernels/numbers.ts';
import { selfAttentionGradReference, selfAttentionReference } from '../kernels/self_attention.reference.ts';
import { PackedScene } from '../kernels/self_attention.scene.ts';

type Values = Record<string, ArrayLike<number>>;

async function run(g: ReturnType<typeof graph>, outputs: Record<string, Tensor>, inputs: Record<string, Operand>): Promise<Values> {
  const program = compile(g, { outputs });
  try {
    const used = Object.entries(inputs).filter(([name]) => program.description.inputs.some((input) => input.name === name));
    const bits = used.map(([name, { dtype, values }]) => [name, toBits(dtype, values)]);
    return (await program.run(Object.fromEntries(bits))) as unknown as Values;
  } finally {
    program.dispose();
  }
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((sum, x, i) => sum + x * (b[i] as number), 0);

/** By central differences, of a function of one operand. */
function difference(of: Operand, f: (values: Float64Array) => number, step = 1e-4): number[] {
  const { values } = of;
  return Array.from(values, (x, i) => (f(replaced(values, i, x + step)) - f(replaced(values, i, x - step))) / (2 * step));
}

function expectNear(actual: ArrayLike<number> | undefined, expected: readonly number[], what: string): void {
  const size = Math.max(1e-3, ...expected.map(Math.abs));
  expected.forEach((value, i) => {
    expect(Math.abs((actual?.[i] as number) - value), `${what}[${i}] is ${actual?.[i]}, expected ${value}`).toBeLessThan(2e-4 * size);
  });
}

describe('the gradient of linear', () => {
  const [rows, outputs, k] = [3, 19, 7];
  const [x, bias, up, second] = [f32([rows, k]), f32([outputs]), f32([rows, outputs]), f32([rows, k])];
  const weight = packWeight('f32', outputs, k, f32([outputs, k]).values);
  const build = () => {
    const g = graph();
    const input = { x: g.input('x', 'f32', [rows, k]), bias: g.input('bias', 'f32', [outputs]), up: g.input('up', 'f32', [rows, outputs]) };
    const frozen = g.weight('weight', tensor('f32', weight.dims, toBits('f32', weight.values)));
    return { g, ...input, y: ops.linear(input.x, frozen, { outputs, bias: input.bias }) };
  };
  const loss = (changed: Record<string, Operand>): number =>
    dot(linearReference({ x, weight, bias, ...changed }, {}, { y: [rows, outputs] }).y as Float64Array, up.values);

  it('reaches x and the bias', async () => {
    const { g, ...nodes } = build();
    const [dx, dBias] = gradient(nodes.y, [nodes.x, nodes.bias], { upstream: nodes.up }) as [Tensor, Tensor];
    const got = await run(g, { dx, dBias }, { x, bias, up });
    expectNear(
      got.dx,
      difference(x, (values) => loss({ x: { ...x, values } })),
      'dx',
    );
    expectNear(
      got.dBias,
      difference(bias, (values) => loss({ bias: { ...bias, values } })),
      'dBias',
    );
  });

  it('can be differentiated again', async () => {
    const { g, ...nodes } = build();
    const [dx] = gradient(nodes.y, [nodes.x], { upstream: nodes.up, differentiable: true }) as [Tensor];
    const [dUp] = gradient(dx, [nodes.up], { upstream: g.input('second', 'f32', [rows, k]) }) as [Tensor];
    const got = await run(g, { dUp }, { x, bias, up, second });
    expectNear(got.dUp, Array.from(linearReference({ x: second, weight }, {}, { y: [rows, outputs] }).y as Float64Array), 'dUp');
  });
});

describe('the gradient of self_attention', () => {
  const scenes = {
    'packed documents': new PackedScene({ lengths: [4, 1, 3], heads: 4, keyHeads: 2, width: 3 }),
    'prefixes, a window and a soft cap': new PackedScene({
      lengths: [5, 2],
      prefix: 2,
      heads: 2,
      keyHeads: 1,
      width: 3,
      window: 3,
      softCap: 1.5,
      scale: 1,
    }),
    'tokens that see nothing': new PackedScene({ lengths: [4], heads: 2, keyHeads: 1, width: 3 }).with([
      [0, 0, 0, 0],
      [0, 2, 3, 4],
      [1, 1, 0, 3],
      [2, 2, 2, 2],
    ]),
  };
  const operands = ['q', 'k', 'v', 'dy', 'dlse'] as const;
  type Name = (typeof operands)[number];

  for (const [name, scene] of Object.entries(scenes)) {
    const { attrs, ranges } = scene;
    const [dy, dlse] = [scene.dy, f32(scene.dims.lse)];
    const given: Record<Name, Operand> = { q: scene.q, k: scene.k, v: scene.v, dy, dlse };
    const all = { ...given, ranges };
    // All of float64, so that a difference of it is exact enough.
    const gradients = (changed: Partial<Record<Name, Operand>>): Values => {
      const inputs = { ...all, ...changed };
      const { y, lse } = selfAttentionReference(inputs, attrs, {}) as { y: Float64Array; lse: Float64Array };
      const outputs = { y: { ...scene.q, values: y }, lse: { ...dlse, values: lse } };
      return selfAttentionGradReference({ ...inputs, ...outputs }, attrs, {});
    };
    const build = () => {
      const g = graph();
      const inputs = Object.fromEntries(operands.map((operand) => [operand, g.input(operand, 'f32', given[operand].dims)])) as Record<
        Name,
        Tensor
      >;
      const seen = g.input('ranges', 'i32', ranges.dims);
      const { q, k, v } = inputs;
      const outputs = ops.selfAttention({ q, k, v, ranges: seen }, attrs);
      // A loss of both outputs: y . dy + lse . dlse.
      const loss = (differentiable: boolean): Tensor[] => {
        const parameters = [q, k, v];
        const ofY = gradient(outputs.y, parameters, { upstream: inputs.dy, differentiable });
        const ofLse = gradient(outputs.lse, parameters, { upstream: inputs.dlse, differentiable });
        return ofY.map((part, i) => ops.add(part, ofLse[i] as Tensor));
      };
      return { g, inputs, loss };
    };

    it(`reaches q, k and v: ${name}`, async () => {
      for (const differentiable of [false, true]) {
        const { g, loss } = build();
        const [dq, dk, dv] = loss(differentiable) as [Tensor, Tensor, Tensor];
        const got = await run(g, { dq, dk, dv }, all);
        const expected = gradients({});
        for (const part of ['dq', 'dk', 'dv'])
          expectNear(got[part], Array.from(expected[part] as ArrayLike<number>), `${differentiable ? 'composed ' : ''}${part}`);
      }
    });

    it(`can be differentiated again: ${name}`, async () => {
      for (const part of ['dq', 'dk', 'dv'] as const) {
        const { g, inputs, loss } = build();
        const first = loss(true)[['dq', 'dk', 'dv'].indexOf(part)] as Tensor;
        const second = f32(part === 'dq' ? scene.dims.q : scene.dims.k);
        const results = gradient(
          first,
          operands.map((operand) => inputs[operand]),
          { upstream: g.input('second', 'f32', second.dims) },
        );
        const outputs = Object.fromEntries(operands.map((operand, i) => [operand, results[i] as Tensor]));
        const got = await run(g, outputs, { ...all, second });
        for (const operand of operands) {
          const expected = difference(given[operand], (values) =>
            dot(gradients({ [operand]: { ...given[operand], values } })[part] as ArrayLike<number>, second.values),
          );
          expectNear(got[operand], expected, `${part} by ${operand}`);
        }
      }
    });
  }
});
