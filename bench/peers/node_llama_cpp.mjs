// One measurement of node-llama-cpp, through its own API: prints one line of JSON.
import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { median } from '../median.mjs';
import { promptTokens } from './prompts.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    job: { type: 'string', default: 'decode' },
    // contexts: one context an adapter, each with all threads. threads: each with one thread, as many at a time as there are threads.
    arrangement: { type: 'string', default: 'contexts' },
    adapters: { type: 'string', default: '' },
    batch: { type: 'string', default: '1' },
    threads: { type: 'string', default: '2' },
    steps: { type: 'string', default: '32' },
    repeats: { type: 'string', default: '5' },
    prompt: { type: 'string' },
  },
});
const number = (name) => Number(options[name]);
const [threads, streams, steps] = [number('threads'), number('batch'), number('steps')];
const promptLength = options.prompt ? number('prompt') : options.job === 'prefill' ? 512 : 64;
const adapters = options.adapters ? options.adapters.split(',') : [];

const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: LlamaLogLevel.error });
const loadStart = performance.now();
const model = await llama.loadModel({ modelPath: options.model });
const loadSeconds = (performance.now() - loadStart) / 1000;

const contextSize = Math.ceil((promptLength + steps + 8) / 256) * 256;
async function newContext(sequences, adapter, threadsOfIt) {
  return model.createContext({
    sequences,
    contextSize,
    batchSize: 512,
    threads: { ideal: threadsOfIt, min: threadsOfIt },
    ...(adapter ? { lora: { adapters: [{ filePath: adapter }] } } : {}),
  });
}

const mixed = options.job !== 'prefill' && adapters.length > 1;
const sequences = [];
if (mixed) {
  if (adapters.length !== streams) throw new Error(`${adapters.length} adapters for ${streams} streams; expected as many`);
  for (const adapter of adapters)
    sequences.push((await newContext(1, adapter, options.arrangement === 'threads' ? 1 : threads)).getSequence());
} else {
  const context = await newContext(streams, adapters[0], threads);
  for (let stream = 0; stream < streams; stream += 1) sequences.push(context.getSequence());
}

/** Prompts first, then `count` tokens of every stream; gives the seconds that those tokens took after the first of each stream. */
async function decode(count) {
  await Promise.all(sequences.map((sequence) => sequence.clearHistory()));
  const iterators = sequences.map((sequence, stream) =>
    sequence.evaluate(promptTokens(stream, promptLength), { temperature: 0, yieldEogToken: true }),
  );
  await Promise.all(iterators.map((iterator) => iterator.next()));
  const start = performance.now();
  await Promise.all(
    iterators.map(async (iterator) => {
      for (let step = 0; step < count; step += 1) {
        if ((await iterator.next()).done) throw new Error(`a stream ended after ${step} of ${count} tokens`);
      }
      await iterator.return();
    }),
  );
  return (performance.now() - start) / 1000;
}

async function prefill(repeat) {
  await sequences[0].clearHistory();
  const tokens = promptTokens(repeat, promptLength);
  const start = performance.now();
  await sequences[0].evaluateWithoutGeneratingNewTokens(tokens);
  return (performance.now() - start) / 1000;
}

const repeats = [];
await (options.job === 'prefill' ? prefill(0) : decode(4));
for (let repeat = 0; repeat < number('repeats'); repeat += 1) {
  repeats.push(options.job === 'prefill' ? promptLength / (await prefill(repeat + 1)) : (steps * streams) / (await decode(steps)));
}
const { version } = JSON.parse(fs.readFileSync(new URL('node_modules/node-llama-cpp/package.json', import.meta.url), 'utf8'));
console.log(
  JSON.stringify({
    driver: 'node_llama_cpp',
    version,
    tokensPerSecond: median(repeats),
    repeats,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    loadSeconds,
  }),
);
process.exit(0);
