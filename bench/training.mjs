// One measurement of heddle's training through its public API: prints one line of JSON.
//   node bench/training.mjs --model <folder> [--documents 4] [--length 128] [--rank 16] [--steps 8] [--threads 2] [--recompute none|cheap|layer] [--batch-tokens 512]
//                           [--adapters 1]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { deviceInfo, train } from '../dist/lib/index.js';
import { median } from './median.mjs';
import { promptTokens } from './peers/prompts.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    documents: { type: 'string', default: '4' },
    length: { type: 'string', default: '128' },
    rank: { type: 'string', default: '16' },
    steps: { type: 'string', default: '8' },
    threads: { type: 'string', default: '2' },
    recompute: { type: 'string', default: 'cheap' },
    'batch-tokens': { type: 'string' },
    adapters: { type: 'string', default: '1' },
  },
});
const [documents, length, steps, adapters] = ['documents', 'length', 'steps', 'adapters'].map((name) => Number(options[name]));
const folder = mkdtempSync(join(tmpdir(), 'heddle-training-'));
try {
  const data = join(folder, 'data.jsonl');
  const lines = Array.from({ length: documents * (steps + 2) }, (_, i) => JSON.stringify({ tokens: promptTokens(i, length) }));
  writeFileSync(data, `${lines.join('\n')}\n`);
  const own = { data: { files: data, batchSize: documents / adapters, shuffle: false } };
  const times = [];
  let last = performance.now();
  const baseline = process.memoryUsage.rss();
  const result = await train({
    model: options.model,
    output: join(folder, 'out'),
    ...(adapters === 1 ? own : { adapters: Object.fromEntries(Array.from({ length: adapters }, (_, i) => [`a${i}`, own])) }),
    rank: Number(options.rank),
    learningRate: 1e-4,
    steps: steps + 2,
    batchTokens: Number(options['batch-tokens'] ?? documents * length),
    threads: Number(options.threads),
    recompute: options.recompute,
    saveEvery: 1_000_000,
    samples: false,
    onEvent: (event) => {
      if (event.type !== 'step') return;
      const now = performance.now();
      times.push(now - last);
      last = now;
    },
  });
  // The first two warm up.
  const repeats = times.slice(2).map((milliseconds) => (documents * length * 1000) / milliseconds);
  const status = readFileSync('/proc/self/status', 'utf8');
  console.log(
    JSON.stringify({
      driver: 'heddle training',
      version: `${JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version} (${deviceInfo().target})`,
      tokensPerSecond: median(repeats),
      repeats,
      plannedBytes: result.plannedBytes,
      nativePeakBytes: result.peakBytes,
      baselineRssBytes: baseline,
      peakRssBytes: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024,
    }),
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
