// Measures heddle and its peers side by side, taking turns, and keeps the medians.
//   node bench/compare.mjs [--scenario decode-1-base,adapters-8-base] [--sides heddle,llamaC] [--rounds 3] [--repeats 3]
//                          [--threads 2] [--favoured] [--print]
import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { drivers } from './drivers.mjs';
import { median } from './median.mjs';
import { describeMachine, measuredCommit, readResults, resultsFile, writeResults } from './results.mjs';
import { runDriver, startNeighbour } from './run_driver.mjs';
import { scenarios } from './scenarios.mjs';
import { table } from './table.mjs';

const { values: options } = parseArgs({
  options: {
    scenario: { type: 'string', default: Object.keys(scenarios).join(',') },
    sides: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    repeats: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    favoured: { type: 'boolean', default: false },
    print: { type: 'boolean', default: false },
  },
});

const perRun = ['outsideMicroseconds', 'insideMicroseconds', 'loopDelayP99Milliseconds', 'loadSeconds', 'peakRssBytes'];

function summarise(answers) {
  const summary = {
    version: answers[0].version,
    date: new Date().toISOString(),
    tokensPerSecond: median(answers.map((answer) => answer.tokensPerSecond)),
  };
  for (const field of perRun) if (answers[0][field] !== undefined) summary[field] = median(answers.map((answer) => answer[field]));
  return {
    ...summary,
    rounds: answers.map((answer) => ({ tokensPerSecond: answer.tokensPerSecond, repeats: answer.repeats, load: answer.load })),
  };
}

async function measure(scenario) {
  const wanted = options.sides?.split(',');
  const sides = Object.entries(scenario.sides).filter(([label]) => !wanted || wanted.includes(label));
  const [answers, failures] = [{}, {}];
  for (let round = 0; round < Number(options.rounds); round += 1) {
    for (const [label, { driver: driverName = label, quiet = false, ...job }] of sides) {
      const driver = drivers[driverName];
      if (driver.missing) {
        failures[label] = driver.missing;
        continue;
      }
      const stop = scenario.neighbour && !quiet ? startNeighbour(1, options.favoured) : undefined;
      try {
        const command = driver.command({ threads: options.threads, repeats: options.repeats, ...job });
        const answer = await runDriver(command, { favoured: options.favoured });
        answers[label] ??= [];
        answers[label].push(answer);
        process.stderr.write(`  ${label}: ${answer.tokensPerSecond.toFixed(1)} tokens/s (load ${answer.load.toFixed(1)})\n`);
      } catch (error) {
        failures[label] = error.message;
        process.stderr.write(`  ${label}: ${error.message}\n`);
      } finally {
        stop?.();
      }
    }
  }
  const summaries = Object.fromEntries(Object.entries(answers).map(([label, list]) => [label, summarise(list)]));
  return { sides: summaries, ...(Object.keys(failures).length > 0 ? { failures } : {}) };
}

const results = readResults();
if (!options.print) {
  for (const name of options.scenario.split(',')) {
    const scenario = scenarios[name];
    if (!scenario) throw new Error(`no scenario is called "${name}"; expected one of ${Object.keys(scenarios).join(', ')}`);
    process.stderr.write(`${scenario.title}\n`);
    const measured = await measure(scenario);
    results.machine = describeMachine();
    results.scenarios[name] = {
      title: scenario.title,
      ...describeRun(),
      ...measured,
      sides: { ...(options.sides ? results.scenarios[name]?.sides : {}), ...measured.sides },
    };
    writeResults(results);
  }
}
const text = table(results);
fs.writeFileSync(resultsFile.replace(/json$/, 'md'), text);
console.log(text);

function describeRun() {
  return {
    date: new Date().toISOString(),
    commit: measuredCommit(),
    command: `node bench/compare.mjs ${process.argv.slice(2).join(' ')}`.trim(),
    threads: Number(options.threads),
    favoured: options.favoured,
  };
}
