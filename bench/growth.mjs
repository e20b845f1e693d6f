// How heddle's speed grows with the batch, the adapters in it, their rank and the context. Writes tables and plots beside the results.
//   node bench/growth.mjs [--shape small] [--threads 2] [--repeats 3] [--favoured] [--only batch,adapters,rank,context]
// Adapters of the ranks must be there: node bench/peers/write_models.mjs --shape small --rank 4,8,16,32,64 --adapters 32 --no-gguf
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { drivers } from './drivers.mjs';
import { filesOf } from './peers/shapes.mjs';
import { plot } from './plot.mjs';
import { describeMachine, measuredCommit, readResults, resultsFile, writeResults } from './results.mjs';
import { runDriver } from './run_driver.mjs';
import { table } from './table.mjs';

const { values: options } = parseArgs({
  options: {
    shape: { type: 'string', default: 'small' },
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '3' },
    favoured: { type: 'boolean', default: false },
    only: { type: 'string', default: 'batch,adapters,rank,context' },
  },
});

const decode = { job: 'decode', shape: options.shape, prompt: 64, steps: 32, threads: options.threads, repeats: options.repeats };
const growths = {
  batch: {
    title: 'Streams in the batch',
    axis: 'streams',
    at: [1, 2, 4, 8, 16, 32],
    series: {
      'no adapters': (streams) => ({ ...decode, batch: streams }),
      'an adapter each': (streams) => ({ ...decode, batch: streams, adapters: streams }),
    },
  },
  adapters: {
    title: 'Different adapters among 16 streams',
    axis: 'adapters',
    at: [0, 1, 2, 4, 8, 16],
    series: { 'rank 16': (count) => ({ ...decode, batch: 16, cycle: count }) },
  },
  rank: {
    title: 'Rank of the adapters, 8 streams with 8 adapters',
    axis: 'rank',
    at: [4, 8, 16, 32, 64],
    series: { '8 adapters': (rank) => ({ ...decode, batch: 8, adapters: 8, rank }) },
  },
  context: {
    title: 'Tokens before the answer, 8 streams',
    axis: 'context',
    at: [64, 256, 512, 1024, 2048],
    series: { 'no adapters': (prompt) => ({ ...decode, batch: 8, prompt }) },
  },
};

/** `cycle`: fewer adapters than streams, dealt out in turn. */
function commandOf({ cycle, ...job }) {
  if (cycle === undefined || cycle === 0) return drivers.heddle.command(job);
  const files = filesOf(job.shape);
  const dealt = Array.from({ length: job.batch }, (_, stream) => files.adapter(16, stream % cycle));
  return [...drivers.heddle.command(job), '--adapters', dealt.join(',')];
}

const results = readResults();
for (const name of options.only.split(',')) {
  const growth = growths[name];
  if (!growth) throw new Error(`no growth is called "${name}"; expected one of ${Object.keys(growths).join(', ')}`);
  const points = [];
  for (const x of growth.at) {
    const series = {};
    for (const [label, jobAt] of Object.entries(growth.series)) {
      const answer = await runDriver(commandOf(jobAt(x)), { favoured: options.favoured });
      series[label] = answer.tokensPerSecond;
      process.stderr.write(`${name} ${x}, ${label}: ${answer.tokensPerSecond.toFixed(1)} tokens/s\n`);
    }
    points.push({ x, series });
  }
  results.machine = describeMachine();
  results.growth ??= {};
  results.growth[name] = {
    title: `${growth.title}, ${options.shape} shape`,
    axis: growth.axis,
    points,
    commit: measuredCommit(),
    date: new Date().toISOString(),
    command: `node bench/growth.mjs ${process.argv.slice(2).join(' ')}`.trim(),
  };
  writeResults(results);
  fs.writeFileSync(path.join(path.dirname(resultsFile), `${name}.svg`), plot({ ...results.growth[name], unit: 'tokens per second' }));
}
fs.writeFileSync(resultsFile.replace(/json$/, 'md'), table(results));
