// report.html: one file without anything from elsewhere.
import { readFile } from 'node:fs/promises';
import { writeAll, writeWholeFile } from '../../checkpoint/whole_file.js';
import type { EndEvent, EvaluationEvent, PlanEvent, SampleEvent, StepEvent } from '../events.js';
import type { TrainSettings } from '../options.js';
import { type LoggedEvent, readLog } from '../training_log.js';
import { escapeHtml } from './escape_html.js';
import { colourCount, formatNumber, lineChart, type Series, smooth } from './line_chart.js';
import { styleSheet } from './style_sheet.js';

/** Writes the report of a log, whole or not at all. Throws FileAccessError. */
export async function writeReport(path: string, logPath: string, settings: TrainSettings): Promise<void> {
  const html = Buffer.from(renderReport(await readLog(logPath), settings));
  const same = await readFile(path).then(
    (old) => old.equals(html),
    () => false,
  );
  if (!same) await writeWholeFile(path, (file) => writeAll(file, html));
}

interface Log {
  readonly plan: PlanEvent | undefined;
  readonly steps: readonly StepEvent[];
  readonly evaluations: readonly EvaluationEvent[];
  readonly samples: readonly SampleEvent[];
  readonly end: EndEvent | undefined;
  /** Adapters in their order; their place is their colour. */
  readonly names: readonly string[];
}

/** The report of a training that has ended, or of how far it is. */
export function renderReport(events: readonly LoggedEvent[], settings: TrainSettings): string {
  const of = <T extends LoggedEvent['type']>(type: T) =>
    events.filter((event): event is Extract<LoggedEvent, { type: T }> => event.type === type);
  const plan = of('plan').at(-1);
  const log: Log = {
    plan,
    steps: of('step'),
    evaluations: of('evaluation'),
    samples: of('sample'),
    end: of('end').at(-1),
    names: [...settings.adapters.keys()],
  };
  const title = `Training of ${log.names.length <= 3 ? log.names.join(', ') : `${log.names.length} adapters`}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${styleSheet}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p class="quiet">${escapeHtml(`over ${plan?.model ?? settings.model}${plan === undefined ? '' : `, begun ${dateOf(of('plan')[0] ?? plan)}`}`)}</p>
${facts(log)}
<h2>Loss</h2>
${lossChart(log)}
${evaluationPart(log)}
<h2>Learning rate</h2>
${chart(log, 'Learning rate', 'learning rate', ratesOf(log))}
${samplesPart(log)}
<h2>Settings</h2>
${settingsPart(settings)}
</main>
</body>
</html>
`;
}

function facts({ steps, end, plan, names, evaluations }: Log): string {
  const last = steps.at(-1);
  const shown: [string, string][] = [['Steps', `${last?.step ?? 0} of ${plan?.totalSteps ?? '?'}`]];
  const only = names.length === 1 ? (names[0] as string) : undefined;
  if (only !== undefined && last?.adapters[only] !== undefined) shown.push(['Loss', formatNumber(last.adapters[only].loss)]);
  const perplexity = only === undefined ? undefined : evaluations.at(-1)?.adapters[only]?.perplexity;
  if (perplexity !== undefined) shown.push(['Held-out perplexity', formatNumber(perplexity)]);
  shown.push(['Tokens', (last?.tokens ?? 0).toLocaleString('en-US')], ['Time', duration(last?.seconds ?? 0)]);
  const rate = end?.tokensPerSecond ?? last?.tokensPerSecond;
  if (rate !== undefined) shown.push(['Tokens per second', formatNumber(rate)]);
  if (plan !== undefined) shown.push(['Memory, planned', bytes(plan.planned.total)]);
  const peak = end?.peakBytes ?? last?.peakBytes;
  if (peak !== undefined) shown.push(['Memory, measured', bytes(peak)]);
  return `<dl class="facts">${shown.map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>`;
}

function lossChart(log: Log): string {
  const lines = log.names.map((name, colour) => {
    const points = log.steps.flatMap(({ step, adapters }) => (adapters[name] === undefined ? [] : [[step, adapters[name].loss] as const]));
    return { name, colour, points };
  });
  const raw = lines.map((line): Series => ({ ...line, faint: true }));
  const smoothed = lines.map((line): Series => ({ ...line, points: smooth(line.points) }));
  return chart(log, 'Loss in training, each step faint, and the mean around it', 'mean loss per token', [...raw, ...smoothed]);
}

function ratesOf(log: Log): Series[] {
  return log.names.map((name, colour) => ({
    name,
    colour,
    points: log.steps.flatMap(({ step, adapters }) => (adapters[name] === undefined ? [] : [[step, adapters[name].rate] as const])),
  }));
}

function evaluationPart(log: Log): string {
  if (log.evaluations.length === 0) return '';
  const lines = log.names.map(
    (name, colour): Series => ({
      name,
      colour,
      marked: true,
      points: log.evaluations.flatMap(({ step, adapters }) => (adapters[name] === undefined ? [] : [[step, adapters[name].loss] as const])),
    }),
  );
  const rows = log.names.flatMap((name) => {
    const own = log.evaluations.flatMap(({ step, adapters }) => (adapters[name] === undefined ? [] : [{ step, ...adapters[name] }]));
    const [first] = own;
    const last = own.at(-1);
    if (first === undefined || last === undefined) return [];
    const best = own.reduce((a, b) => (b.loss < a.loss ? b : a));
    const cells = [formatNumber(first.perplexity), formatNumber(last.perplexity), `${formatNumber(best.perplexity)} at ${best.step}`];
    return [`<tr><td>${escapeHtml(name)}</td>${cells.map((cell) => `<td class="number">${cell}</td>`).join('')}</tr>`];
  });
  const head = ['Adapter', 'Perplexity at first', 'At the end', 'Best, at step'];
  const table = `<div class="scroll"><table><thead><tr>${head.map((cell, i) => `<th${i > 0 ? ' class="number"' : ''}>${cell}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
  return `<h2>Held-out data</h2>\n${chart(log, 'Loss of held-out data', 'mean loss per token', lines)}\n${table}`;
}

function chart({ names }: Log, title: string, yLabel: string, series: readonly Series[]): string {
  const legend = names.map(
    (name, i) => `<li class="c${i % colourCount}"><i${i >= colourCount ? ' class="dashed"' : ''}></i>${escapeHtml(name)}</li>`,
  );
  return `<figure><ul class="legend">${legend.join('')}</ul>${lineChart(series, { title, xLabel: 'step', yLabel })}<figcaption>${escapeHtml(title)}</figcaption></figure>`;
}

// A prompt, what the base writes after it, and what the adapter writes.
function samplesPart({ samples, names }: Log): string {
  if (samples.length === 0) return '';
  const parts: string[] = [];
  let heading: string | undefined;
  for (let i = 0; i < samples.length; i += 2) {
    const pair = samples.slice(i, i + 2);
    const adapter = pair.find((sample) => sample.adapter !== null)?.adapter ?? '';
    if (adapter !== heading) parts.push(`<h3>${escapeHtml(adapter)}</h3>`);
    heading = adapter;
    const colour = names.indexOf(adapter) % colourCount;
    const texts = pair.map((sample) => {
      const who =
        sample.adapter === null ? '<span class="who">base</span>' : `<span class="who c${colour}">${escapeHtml(sample.adapter)}</span>`;
      return `<p>${who}<span class="prompt">${escapeHtml(sample.prompt)}</span>${escapeHtml(sample.text)}</p>`;
    });
    parts.push(`<blockquote>${texts.join('')}</blockquote>`);
  }
  return `<h2>Continuations</h2>\n<p class="quiet">The prompt is grey.</p>\n${parts.join('\n')}`;
}

function settingsPart(settings: TrainSettings): string {
  const { adapters, many: _many, ...general } = settings;
  const rows = [...adapters].map(([name, { data, schedule, targetModules, ...own }]) => {
    const cells = [
      own.method,
      String(own.rank),
      formatNumber(own.alpha),
      formatNumber(own.learningRate),
      schedule.kind,
      [targetModules].flat().join(', '),
      data.files.join(', '),
    ];
    return `<tr><td>${escapeHtml(name)}</td>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
  });
  const head = ['Adapter', 'Method', 'Rank', 'Alpha', 'Rate', 'Schedule', 'Modules', 'Data'];
  const all = JSON.stringify({ ...general, adapters: Object.fromEntries(adapters) }, null, 2);
  return `<div class="scroll"><table><thead><tr>${head.map((cell) => `<th>${cell}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>
<details><summary>All settings</summary><pre>${escapeHtml(all)}</pre></details>`;
}

function dateOf({ time }: PlanEvent): string {
  return `${time.slice(0, 10)} ${time.slice(11, 16)} UTC`;
}

function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function bytes(count: number): string {
  return count >= 1e9 ? `${(count / 1e9).toFixed(2)} GB` : `${(count / 1e6).toFixed(count < 1e7 ? 2 : 0)} MB`;
}
