// Gradients as graphs: a small network that learns x·y in one program a step, and a gradient that is differentiated again.
//   node examples/gradient.mjs
import { compile, gradient, graph, ops, tensor } from 'heddle';

const rows = 64;
const hidden = 16;
const points = Float32Array.from({ length: rows * 2 }, (_, i) => Math.sin(1.7 * i * i));
const products = Float32Array.from({ length: rows }, (_, row) => points[2 * row] * points[2 * row + 1]);

// Native memory that lives on between runs: parameters, and what SGD remembers of earlier steps.
const shapes = { inner: [hidden, 2], offset: [hidden], outer: [1, hidden] };
const memory = Object.entries(shapes).map(([name, shape]) => {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = tensor(
    'f32',
    shape,
    Float32Array.from({ length: count }, (_, i) => 0.7 * Math.sin(3 * i + 1)),
  );
  return { name, values, velocity: tensor('f32', shape, new Float32Array(count)) };
});

const g = graph();
const x = g.input('x', 'f32', [rows, 2]);
const wanted = g.input('wanted', 'f32', [rows, 1]);
const [inner, offset, outer] = memory.map(({ name, values }) => g.parameter(name, values));
const features = ops.activate(ops.addBias(ops.matmul(x, inner, { transposeB: true }), offset), 'tanh');
const error = ops.add(ops.matmul(features, outer, { transposeB: true }), ops.scale(wanted, -1));
const loss = ops.scale(ops.reduce(ops.mul(error, error).reshape([1, rows]), 'sum'), 1 / rows);

// Ordinary nodes of the same graph, which `sgd` takes like any others. Steps are effects: computed for what they change.
const rate = g.input('rate', 'f32', [1]);
const gradients = gradient(loss, [inner, offset, outer]);
const steps = memory.map(({ name, velocity }, i) => {
  const parameters = [inner, offset, outer][i];
  return ops.sgd({ parameters, velocity: g.state(`velocity of ${name}`, velocity), gradients: gradients[i], schedule: rate }).applied;
});
const learn = compile(g, { outputs: { loss }, effects: steps });
for (let step = 0; step <= 400; step++) {
  const { loss: now } = await learn.run({ x: points, wanted: products, rate: Float32Array.of(0.1) });
  if (step % 100 === 0) console.log(`step ${step}: loss ${now[0].toFixed(6)}`);
}
learn.dispose();
for (const { values, velocity } of memory) for (const { buffer } of [values, velocity]) buffer.dispose();

// A gradient of a gradient: x⁴ has the second derivative 12 x².
const h = graph();
const at = h.input('at', 'f32', [1]);
const square = ops.mul(at, at);
const [slope] = gradient(ops.mul(square, square), [at], { differentiable: true });
const [curvature] = gradient(slope, [at]);
const twice = compile(h, { outputs: { slope, curvature } });
console.log(await twice.run({ at: Float32Array.of(3) })); // { slope: [108], curvature: [108] }
twice.dispose();
