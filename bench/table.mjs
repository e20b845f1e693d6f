// The results as Markdown tables.
import { drivers } from './drivers.mjs';
import { scenarios } from './scenarios.mjs';

const labels = {
  heddleBare: 'heddle, no adapters',
  heddlePlain: 'heddle, weights in bf16',
  heddlePlainBare: 'heddle, weights in bf16, no adapters',
  heddleQuiet: 'heddle, no neighbour',
  llamaCQuiet: 'llama.cpp, C library, no neighbour',
  llamaCSerial: 'llama.cpp, C library, one context after another',
};
const titleOf = (label) => labels[label] ?? drivers[label]?.title ?? label;
const number = (x) => (x >= 100 ? x.toFixed(0) : x.toFixed(1));

/** One goal: what was asked, what was reached. */
function judge(goal, sides) {
  if (goal.field) {
    const value = sides.heddle?.[goal.field];
    return value === undefined
      ? undefined
      : { text: `${goal.field} ${value.toFixed(1)} (at most ${goal.atMost})`, met: value <= goal.atMost };
  }
  const best = goal.over.filter((label) => sides[label]).sort((a, b) => sides[b].tokensPerSecond - sides[a].tokensPerSecond)[0];
  const [own, of] = [sides[goal.of ?? 'heddle'], goal.of ? `${titleOf(goal.of)}: ` : ''];
  if (!best || !own) return undefined;
  if (goal.memory !== undefined) {
    const share = own.peakRssBytes / sides[best].peakRssBytes;
    return { text: `${share.toFixed(2)} of the peak memory of ${titleOf(best)} (at most ${goal.memory})`, met: share <= goal.memory };
  }
  const ratio = own.tokensPerSecond / sides[best].tokensPerSecond;
  return { text: `${of}${ratio.toFixed(2)}× ${titleOf(best)} (at least ${goal.ratio})`, met: ratio >= goal.ratio };
}

function scenarioTable(name, measured) {
  const { goals } = scenarios[name] ?? { goals: [] };
  const rows = Object.entries(measured.sides).map(([label, side]) => {
    const spread = side.rounds.map((round) => round.tokensPerSecond);
    const ratio = measured.sides.heddle ? measured.sides.heddle.tokensPerSecond / side.tokensPerSecond : Number.NaN;
    return `| ${titleOf(label)} | ${number(side.tokensPerSecond)} | ${number(Math.min(...spread))}–${number(Math.max(...spread))} | ${label === 'heddle' ? '' : `${ratio.toFixed(2)}×`} | ${(side.peakRssBytes / 2 ** 20).toFixed(0)} |`;
  });
  const verdicts = goals.map((goal) => judge(goal, measured.sides)).filter(Boolean);
  const loads = Object.values(measured.sides).flatMap((side) => side.rounds.map((round) => round.load));
  return [
    `### ${measured.title}`,
    '',
    '| engine | tokens/s | rounds | heddle is | peak MiB |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...rows,
    '',
    ...verdicts.map(({ text, met }) => `- ${met ? 'reached' : 'missed'}: ${text}`),
    ...Object.entries(measured.failures ?? {}).map(
      ([label, why]) => `- ${titleOf(label)} gave no answer in some round: ${why.split('\n')[0]}`,
    ),
    `- commit ${measured.commit}, ${measured.date.slice(0, 16).replace('T', ' ')} UTC, ${measured.threads} threads, load of the machine before each run ${Math.min(...loads).toFixed(1)}–${Math.max(...loads).toFixed(1)}`,
    '',
  ];
}

function growthTable(name, { title, axis, points, commit, date }) {
  return [
    `### ${title}`,
    '',
    `| ${axis} | ${points.map((point) => point.x).join(' | ')} |`,
    `| --- | ${points.map(() => '---:').join(' | ')} |`,
    ...Object.keys(points[0].series).map((series) => `| ${series} | ${points.map((point) => number(point.series[series])).join(' | ')} |`),
    '',
    `Tokens per second; commit ${commit}, ${date.slice(0, 16).replace('T', ' ')} UTC. Plot: ${name}.svg`,
    '',
  ];
}

export function table({ machine, scenarios: measured, growth = {} }) {
  const versions = new Map();
  for (const { sides } of Object.values(measured)) {
    for (const [label, { version }] of Object.entries(sides)) versions.set(titleOf(label).split(',')[0], version);
  }
  return [
    `# ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB`,
    '',
    `${machine.system}, Node.js ${machine.node}, ${machine.instructions.join(', ')}. ${[...versions].map(([name, version]) => `${name}: ${version}`).join('; ')}.`,
    'Random weights in bf16, 2 threads unless it says otherwise. Medians of rounds in which the engines took turns.',
    '',
    ...Object.keys(scenarios)
      .filter((name) => measured[name])
      .flatMap((name) => scenarioTable(name, measured[name])),
    ...Object.entries(growth).flatMap(([name, grown]) => growthTable(name, grown)),
  ].join('\n');
}
