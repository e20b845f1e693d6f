// Decode and prefill of a whole model on a CUDA device, with and without adapters, against the floor of the bytes it must read.
//   node bench/gpu/end_to_end.mjs [--shape llama8b|base|small|tiny] [--requests 32] [--adapters 32] [--rank 16] [--tokens 64] [--prompt 128]
//                                 [--device cuda] [--gb-per-s 4300] [--folder dir]
// Writes random weights of the shape into the folder first. Prints JSON lines for tools/gpu/summary.py and one table at the end.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { loadModel } from '../../dist/lib/index.js';
import { median } from '../median.mjs';
import { promptTokens } from '../peers/prompts.mjs';
import { randomBf16 } from '../peers/random_weights.mjs';
import { writeSafetensors } from '../peers/safetensors_writer.mjs';
import { configOf, linearsOf, parameterCount, shapes } from '../peers/shapes.mjs';

const { values: options } = parseArgs({
  options: {
    shape: { type: 'string', default: 'llama8b' },
    requests: { type: 'string', default: '32' },
    adapters: { type: 'string', default: '32' },
    rank: { type: 'string', default: '16' },
    tokens: { type: 'string', default: '64' },
    prompt: { type: 'string', default: '128' },
    device: { type: 'string', default: 'cuda' },
    // What a large copy on the device moves, bytes read and written: grouped_lora_cuda_bench prints it.
    'gb-per-s': { type: 'string', default: '4300' },
    folder: { type: 'string', default: path.join(os.tmpdir(), 'heddle-gpu-bench') },
  },
});
const number = (name) => Number(options[name]);
const llama8b = { hidden: 4096, layers: 32, heads: 32, keyValueHeads: 8, headSize: 128, inner: 14336, vocabulary: 128256, context: 4096 };
const shape = { ropeTheta: 500000, normEpsilon: 1e-5, ...{ llama8b, ...shapes }[options.shape] };
const [requests, adapters, rank, tokens, prompt] = ['requests', 'adapters', 'rank', 'tokens', 'prompt'].map(number);

// Real variances, one block of random numbers used again and again: eight billion of them would take minutes.
const block = randomBf16(1, 'block', 1 << 24, 1);
const scaled = new Map();
function bits(count, deviation, at) {
  const power = Math.round(Math.log2(deviation));
  let source = scaled.get(power);
  if (source === undefined) {
    source = block.map((word) => ((word & 0x7f80) === 0 ? 0 : word + (power << 7)));
    scaled.set(power, source);
  }
  const made = new Uint16Array(count);
  for (let to = 0, from = (at * 7919) % (1 << 20); to < count; from = 0) {
    const piece = source.subarray(from, from + Math.min(source.length - from, count - to));
    made.set(piece, to);
    to += piece.length;
  }
  return made;
}

function writeModel(folder) {
  if (fs.existsSync(path.join(folder, 'config.json'))) return;
  fs.mkdirSync(folder, { recursive: true });
  let at = 0;
  const matrix = (name, dims, deviation) => ({ name, dims, dtype: 'BF16', data: () => bits(dims[0] * dims[1], deviation, at++) });
  const norm = (name) => ({ name, dims: [shape.hidden], dtype: 'BF16', data: () => new Uint16Array(shape.hidden).fill(0x3f80) });
  const tensors = [matrix('model.embed_tokens.weight', [shape.vocabulary, shape.hidden], 1)];
  for (let layer = 0; layer < shape.layers; layer++) {
    tensors.push(norm(`model.layers.${layer}.input_layernorm.weight`), norm(`model.layers.${layer}.post_attention_layernorm.weight`));
    for (const { name, dims } of linearsOf(shape))
      tensors.push(matrix(`model.layers.${layer}.${name}.weight`, dims, 1 / Math.sqrt(dims[1])));
  }
  tensors.push(norm('model.norm.weight'), matrix('lm_head.weight', [shape.vocabulary, shape.hidden], 2 / Math.sqrt(shape.hidden)));
  writeSafetensors(path.join(folder, 'model.safetensors'), tensors);
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(configOf(shape)));
}

function writeAdapter(folder, index) {
  if (fs.existsSync(path.join(folder, 'adapter_config.json'))) return;
  fs.mkdirSync(folder, { recursive: true });
  const tensors = [];
  let at = index * 1009;
  for (let layer = 0; layer < shape.layers; layer++)
    for (const { name, dims } of linearsOf(shape)) {
      const module = `base_model.model.model.layers.${layer}.${name}`;
      const [outputs, inputs] = dims;
      tensors.push({
        name: `${module}.lora_A.weight`,
        dims: [rank, inputs],
        dtype: 'BF16',
        data: () => bits(rank * inputs, 1 / Math.sqrt(inputs), at++),
      });
      tensors.push({
        name: `${module}.lora_B.weight`,
        dims: [outputs, rank],
        dtype: 'BF16',
        data: () => bits(rank * outputs, 0.1 / Math.sqrt(rank), at++),
      });
    }
  writeSafetensors(path.join(folder, 'adapter_model.safetensors'), tensors);
  const targets = linearsOf(shape).map(({ name }) => name.split('.')[1]);
  fs.writeFileSync(
    path.join(folder, 'adapter_config.json'),
    JSON.stringify({ peft_type: 'LORA', task_type: 'CAUSAL_LM', r: rank, lora_alpha: rank, target_modules: targets, bias: 'none' }),
  );
}

const root = path.join(options.folder, options.shape);
writeModel(path.join(root, 'model'));
const names = Array.from({ length: adapters }, (_, i) => `a${i}`);
const folders = Object.fromEntries(names.map((name, i) => [name, path.join(root, `r${rank}`, String(i))]));
names.forEach((name, i) => {
  writeAdapter(folders[name], i);
});

const model = await loadModel(path.join(root, 'model'), {
  device: options.device,
  adapters: folders,
  contextLength: Math.min(shape.context, prompt + tokens + 16),
  maxRequests: Math.max(requests, 1),
  prefixCache: false,
});

// The clock starts when every request has its first token.
async function decode(withAdapters) {
  let [started, delivered, before, start] = [0, 0, 0, 0];
  await Promise.all(
    Array.from({ length: requests }, async (_, i) => {
      let seen = 0;
      const request = { tokens: promptTokens(i, prompt), temperature: 0, maxTokens: tokens + 1, ignoreEos: true };
      for await (const piece of model.generate({ ...request, ...(withAdapters ? { adapter: names[i % names.length] } : {}) })) {
        delivered += piece.tokens.length;
        if (seen === 0 && piece.tokens.length > 0 && ++started === requests) [before, start] = [delivered, performance.now()];
        seen += piece.tokens.length;
      }
    }),
  );
  return (delivered - before) / ((performance.now() - start) / 1000);
}

await decode(true);
await decode(false);
const rates = { without: [], with: [] };
for (let round = 0; round < 5; round++) {
  rates.without.push(await decode(false));
  rates.with.push(await decode(true));
}
const [without, withAdapters] = [median(rates.without), median(rates.with)];
const weightBytes = 2 * (parameterCount(shape) - shape.vocabulary * shape.hidden); // one row of the embedding per token
const adapterBytes = 2 * rank * shape.layers * linearsOf(shape).reduce((sum, { dims }) => sum + dims[0] + dims[1], 0);
const cacheBytes = 2 * 2 * shape.layers * shape.keyValueHeads * shape.headSize * (prompt + tokens / 2) * requests;
const bandwidth = number('gb-per-s') * 1e9;
const distinct = Math.min(requests, adapters);
const floor = (bytes) => (bandwidth / bytes) * requests;
const bound = { without: floor(weightBytes + cacheBytes), with: floor(weightBytes + cacheBytes + distinct * adapterBytes) };
for (const [side, rate, best] of [
  ['without', without, bound.without],
  ['with', withAdapters, bound.with],
]) {
  const line = {
    bench: 'decode',
    shape: options.shape,
    adapters: side === 'with' ? distinct : 0,
    rank,
    requests,
    tokens_per_s: rate,
    floor_tokens_per_s: best,
  };
  console.log(JSON.stringify({ ...line, of_floor: rate / best }));
}
console.log(
  `${options.shape}: ${withAdapters.toFixed(0)} tokens/s with ${distinct} adapters, ${without.toFixed(0)} without ` +
    `(${((100 * withAdapters) / without).toFixed(1)} % of it; the bytes allow ${((100 * bound.with) / bound.without).toFixed(1)} %); ` +
    `${((100 * withAdapters) / bound.with).toFixed(1)} % of what the bytes allow at ${options['gb-per-s']} GB/s`,
);
model.dispose();
