// One measurement of heddle, through its public API: prints one line of JSON.
import fs from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { deviceInfo, loadModel, setThreads } from '../dist/lib/index.js';
import { median } from './median.mjs';
import { promptTokens } from './peers/prompts.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    job: { type: 'string', default: 'decode' },
    adapters: { type: 'string', default: '' },
    batch: { type: 'string', default: '1' },
    threads: { type: 'string', default: '2' },
    steps: { type: 'string', default: '32' },
    repeats: { type: 'string', default: '5' },
    prompt: { type: 'string' },
    precision: { type: 'string', default: 'fast' },
    'adapter-dtype': { type: 'string', default: 'stored' },
    // The base's weights as they are in the file, instead of in 12 bits.
    plain: { type: 'boolean', default: false },
    // Watches the event loop: a timer each millisecond, which takes processor time from the kernels.
    loop: { type: 'boolean', default: false },
    // Adds the time by op, and what a step costs outside all of them, from one more run (the clock reads cost a little themselves).
    profile: { type: 'boolean', default: false },
  },
});
const number = (name) => Number(options[name]);
const [streams, steps] = [number('batch'), number('steps')];
const promptLength = options.prompt ? number('prompt') : options.job === 'prefill' ? 512 : 64;
const folders = options.adapters ? options.adapters.split(',') : [];
const unique = [...new Set(folders)];
const names = folders.map((folder) => `adapter-${unique.indexOf(folder)}`);
if (folders.length > 1 && folders.length !== streams)
  throw new Error(`${folders.length} adapters for ${streams} streams; expected as many`);

setThreads(number('threads'));
const loadStart = performance.now();
const model = await loadModel(options.model, {
  device: 'cpu',
  precision: options.precision,
  compactWeights: !options.plain,
  adapterDtype: options['adapter-dtype'],
  adapters: Object.fromEntries(unique.map((folder, index) => [`adapter-${index}`, folder])),
  contextLength: Math.max(256, promptLength + steps + 8),
  prefixCache: false,
});
const loadSeconds = (performance.now() - loadStart) / 1000;
const adapterOf = (stream) => (names.length > 1 ? names[stream] : names[0]);
const requestOf = (stream, maxTokens) => ({
  tokens: promptTokens(stream, promptLength),
  temperature: 0,
  maxTokens,
  ignoreEos: true,
  ...(names.length > 0 ? { adapter: adapterOf(stream) } : {}),
});

/** Seconds to the first token of one prompt. */
async function prefill(stream) {
  const request = requestOf(stream, 1);
  const start = performance.now();
  await model.complete(request);
  return (performance.now() - start) / 1000;
}

/** Runs all streams; the clock starts when each has its first token, and counts the tokens after that. */
async function decode(count) {
  let [started, delivered, before] = [0, 0, 0];
  let [start, stepsBefore, kernelsBefore] = [0, 0, 0];
  const loop = options.loop ? monitorEventLoopDelay({ resolution: 1 }) : undefined;
  await Promise.all(
    Array.from({ length: streams }, async (_, stream) => {
      let seen = 0;
      for await (const piece of model.generate(requestOf(stream, count + 1))) {
        delivered += piece.tokens.length;
        if (seen === 0 && piece.tokens.length > 0 && ++started === streams) {
          before = delivered;
          ({ steps: stepsBefore, kernelNanoseconds: kernelsBefore } = model.stats());
          loop?.enable();
          start = performance.now();
        }
        seen += piece.tokens.length;
      }
      if (seen !== count + 1) throw new Error(`stream ${stream} gave ${seen} tokens; expected ${count + 1}`);
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  loop?.disable();
  const stats = model.stats();
  return {
    rate: (delivered - before) / seconds,
    // What a step costs outside native code: crossing to it and back, scheduling, delivering.
    outsideMicroseconds: (seconds * 1e6 - (stats.kernelNanoseconds - kernelsBefore) / 1000) / (stats.steps - stepsBefore),
    ...(loop ? { loopDelayP99Milliseconds: Math.max(0, loop.percentile(99) / 1e6 - 1) } : {}),
  };
}

if (options.job === 'logits') {
  const { tokens } = await model.complete(requestOf(0, steps));
  console.log(JSON.stringify({ tokens }));
  process.exit(0);
}

const job = options.job === 'prefill' ? async (stream) => ({ rate: promptLength / (await prefill(stream)) }) : () => decode(steps);
await (options.job === 'prefill' ? prefill(0) : decode(4));
const runs = [];
for (let repeat = 0; repeat < number('repeats'); repeat += 1) runs.push(await job(repeat + 1));

/** Time by op of one more run, and the rest of a step's native time. */
async function profiled() {
  model.setProfiling(true);
  const before = model.stats();
  await job(number('repeats') + 1);
  const after = model.stats();
  const profile = model.profile();
  const inOps = profile.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  const insideMicroseconds = (after.kernelNanoseconds - before.kernelNanoseconds - inOps) / 1000 / (after.steps - before.steps);
  return { insideMicroseconds, profile };
}

const { version } = JSON.parse(fs.readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const repeats = runs.map(({ rate }) => rate);
const medianOf = (key) => (runs[0][key] === undefined ? {} : { [key]: median(runs.map((run) => run[key])) });
console.log(
  JSON.stringify({
    driver: 'heddle',
    version: `${version} (${deviceInfo().target})`,
    tokensPerSecond: median(repeats),
    repeats,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    loadSeconds,
    ...medianOf('outsideMicroseconds'),
    ...medianOf('loopDelayP99Milliseconds'),
    ...(options.profile ? await profiled() : {}),
  }),
);
model.dispose();
