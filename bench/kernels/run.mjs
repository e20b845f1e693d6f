// Times single ops through compiled programs with the benchmark package: time, GB/s and GFLOP/s by op and shape.
//   node bench/kernels/run.mjs [--op linear,attention] [--threads 2] [--seconds 1] [--json]
// HEDDLE_CPU_TARGET picks the instruction set.
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { opTable } from '../../dist/lib/generated/op_table.js';
import { deviceInfo, emptyTensor, setThreads } from '../../dist/lib/index.js';
import { newValue } from '../../dist/lib/plan/ir.js';
import { compilePlan } from '../../dist/lib/plan/plan.js';
import { median } from '../median.mjs';
import { cases } from './cases.mjs';

const { values: options } = parseArgs({
  options: {
    op: { type: 'string' },
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const wanted = options.op?.split(',');
for (const name of wanted ?? [])
  if (!cases.some(({ op }) => op === name))
    throw new Error(`no case times "${name}"; expected one of ${[...new Set(cases.map(({ op }) => op))].join(', ')}`);
setThreads(Number(options.threads));

const coldBytes = 128 * 2 ** 20;
const elements = (dims) => dims.reduce((product, size) => product * size, 1);

// Numbers between a quarter and a half with signs in every 16-bit half, which are ordinary floats in f32 and bf16 alike.
function contents({ dtype, dims, value }) {
  const size = elements(dims);
  if (dtype === 'i32') return Int32Array.from({ length: size }, (_, i) => value?.(i) ?? 0);
  if (value) return Float32Array.from({ length: size }, (_, i) => value(i));
  const bytes = dtype === 'u8' ? size : size * (dtype === 'f32' ? 4 : 2);
  const words = new Uint32Array(Math.ceil(bytes / 4));
  for (let i = 0, state = 12345; i < words.length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = 0x3e803e80 | (state & 0x80008000) | ((state >>> 9) & 0x007f007f);
  }
  if (dtype === 'f32') return new Float32Array(words.buffer);
  return dtype === 'bf16' ? new Uint16Array(words.buffer, 0, size) : new Uint8Array(words.buffer, 0, size);
}

/** A program of as many calls of the op as there are copies of its cold operand, and what frees it. */
async function prepare({ op, inputs, outputs = {}, attrs, cold }) {
  const { inputs: names, outputs: results, alias } = opTable[op];
  const tensors = [];
  const bind = async (operand) => {
    const tensor = emptyTensor(operand.dtype, operand.dims);
    tensors.push(tensor);
    if (elements(operand.dims) > 0) await tensor.buffer.write(0, contents(operand));
    return { ...newValue(operand.dtype, operand.dims), bound: tensor };
  };
  const shared = {};
  for (const [name, operand] of Object.entries({ ...inputs, ...outputs })) if (name !== cold) shared[name] = await bind(operand);
  const copies = cold ? Math.ceil(coldBytes / bytesOf(inputs[cold])) : 1;
  const nodes = [];
  for (let copy = 0; copy < copies; copy += 1) {
    const values = cold ? { ...shared, [cold]: await bind(inputs[cold]) } : shared;
    nodes.push({
      op,
      inputs: names.map((name) => values[name]),
      outputs: results.map((name) =>
        alias[name] ? { ...newValue(inputs[alias[name]].dtype, inputs[alias[name]].dims), bound: values[alias[name]].bound } : values[name],
      ),
      attrs,
    });
  }
  const program = compilePlan({ nodes, inputs: [], outputs: [], extents: new Map(), feeds: [] });
  return {
    program,
    calls: copies,
    dispose: () => {
      program.dispose();
      for (const { buffer } of tensors) buffer.dispose();
    },
  };
}

const bytesOf = ({ dtype, dims }) => elements(dims) * { f32: 4, bf16: 2, i32: 4, u8: 1 }[dtype];

/** Seconds of one call: the median of the benchmark's samples, whose runs are long enough that crossing to native code is nothing. */
async function time(test) {
  const { program, calls, dispose } = await prepare(test);
  const first = performance.now();
  await program.run({});
  const steps = Math.max(1, Math.ceil(20 / (performance.now() - first)));
  try {
    const bench = await new Promise((resolve, reject) => {
      new Benchmark(test.op, {
        defer: true,
        minSamples: 5,
        maxTime: Number(options.seconds),
        fn: (deferred) => program.runBurst({}, { steps }).then(() => deferred.resolve(), reject),
        onComplete: ({ target }) => (target.error ? reject(target.error) : resolve(target)),
      }).run({ async: true });
    });
    return { seconds: median(bench.stats.sample) / (steps * calls), spread: bench.stats.rme };
  } finally {
    dispose();
  }
}

if (!options.json) console.log(`${deviceInfo().target}, ${options.threads} threads`);
for (const test of cases) {
  if (wanted && !wanted.includes(test.op)) continue;
  const { seconds, spread } = await time(test);
  const [gigabytes, gigaflops] = [test.bytes, test.operations].map((amount) => (amount === undefined ? undefined : amount / seconds / 1e9));
  if (options.json) {
    console.log(
      JSON.stringify({ op: test.op, shape: test.shape, seconds, spreadPercent: spread, gigabytesPerSecond: gigabytes, gigaflops }),
    );
    continue;
  }
  const columns = [
    test.op.padEnd(14),
    `${(seconds * 1e6).toFixed(1).padStart(9)} us ±${spread.toFixed(0).padStart(3)} %`,
    `${gigabytes.toFixed(1).padStart(6)} GB/s`,
    gigaflops === undefined ? ''.padStart(14) : `${gigaflops.toFixed(1).padStart(7)} GFLOP/s`,
    test.shape,
  ];
  console.log(columns.join('  '));
}
