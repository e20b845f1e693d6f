// The graph API without a language model: a small network over any number of rows, compiled once, run many times.
//   node examples/graph.mjs
import { compile, graph, ops, packedWeight, ShapeError } from 'heddle';

const inputs = 3;
const hidden = 8;
const classes = 4;
const wave = (length, step) => Float32Array.from({ length }, (_, i) => Math.sin(step * (i + 1)));
const [first, second] = await Promise.all([
  packedWeight(wave(hidden * inputs, 0.7), hidden, inputs),
  packedWeight(wave(classes * hidden, 0.3), classes, hidden),
]);

const g = graph();
// 'rows' is a symbolic extent: known when the program runs, bounded when it is compiled.
const x = g.input('x', 'f32', ['rows', inputs]);
const inner = ops.relu(ops.linear(x, g.weight('first', first), { outputs: hidden }));
const logits = ops.linear(inner, g.weight('second', second), { outputs: classes });

// Shapes are checked where the mistake is made, not where it is run.
try {
  ops.add(x, logits);
} catch (error) {
  if (!(error instanceof ShapeError)) throw error;
  console.log(error.message);
}

const program = compile(g, { outputs: { probability: ops.softmax(logits), choice: ops.argmax(logits) }, extents: { rows: { max: 64 } } });
console.log(program.memory);
for (const rows of [1, 3]) {
  const { probability, choice } = await program.run({ x: wave(rows * inputs, 1.1) });
  for (let row = 0; row < rows; row++) {
    const shares = Array.from(probability.slice(row * classes, (row + 1) * classes), (p) => p.toFixed(3));
    console.log(`row ${row} of ${rows}: class ${choice[row]} of [${shares.join(', ')}]`);
  }
}

program.dispose();
for (const weight of [first, second]) weight.buffer.dispose();
