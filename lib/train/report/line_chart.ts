// Line charts as SVG, drawn without any library.
import { escapeHtml } from './escape_html.js';

/** A line. */
export interface Series {
  readonly name: string;
  /** Ascending x. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Which colour: that of an adapter is the same in all charts. */
  readonly colour: number;
  /** Faint: behind the others, for raw numbers of a smoothed line. */
  readonly faint?: boolean;
  /** Marks every point; where there are few. */
  readonly marked?: boolean;
}

/** What a chart says beside its lines. */
export interface ChartOptions {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
}

/** Colours in the style sheet; further lines are dashed. */
export const colourCount = 8;

const width = 760;
const height = 288;
const margin = { left: 70, right: 18, top: 14, bottom: 48 };
const mostPoints = 600;

/** A chart of lines over common axes. Lines of more points than can be told apart are averaged. */
export function lineChart(series: readonly Series[], { title, xLabel, yLabel }: ChartOptions): string {
  const thinned = series.map((line) => ({ ...line, points: thin(line.points) })).filter(({ points }) => points.length > 0);
  if (thinned.length === 0) return '<p class="empty">Nothing was measured.</p>';
  const all = thinned.flatMap(({ points }) => points);
  const x = scaleOf(
    all.map(([value]) => value),
    margin.left,
    width - margin.right,
    false,
  );
  const y = scaleOf(
    all.map(([, value]) => value),
    height - margin.bottom,
    margin.top,
    true,
  );
  const parts = [
    ...y.ticks.map(
      (tick) =>
        `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${fixed(y.at(tick))}" y2="${fixed(y.at(tick))}"/>` +
        `<text class="tick" text-anchor="end" x="${margin.left - 8}" y="${fixed(y.at(tick) + 4)}">${formatTick(tick)}</text>`,
    ),
    ...x.ticks.map(
      (tick) =>
        `<line class="axis" x1="${fixed(x.at(tick))}" x2="${fixed(x.at(tick))}" y1="${height - margin.bottom}" y2="${height - margin.bottom + 5}"/>` +
        `<text class="tick" text-anchor="middle" x="${fixed(x.at(tick))}" y="${height - margin.bottom + 19}">${formatTick(tick)}</text>`,
    ),
    `<line class="axis" x1="${margin.left}" x2="${width - margin.right}" y1="${height - margin.bottom}" y2="${height - margin.bottom}"/>`,
    `<text class="label" text-anchor="middle" x="${(margin.left + width - margin.right) / 2}" y="${height - 7}">${escapeHtml(xLabel)}</text>`,
    `<text class="label" text-anchor="middle" transform="translate(18 ${(margin.top + height - margin.bottom) / 2}) rotate(-90)">${escapeHtml(yLabel)}</text>`,
    ...thinned.map((line) => drawLine(line, x.at, y.at)),
  ];
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}"><title>${escapeHtml(title)}</title>${parts.join('')}</svg>`;
}

/** Mean of each number and its neighbours, which count half as much a sixtieth of the line away: it lags behind nothing. */
export function smooth(points: Series['points']): Series['points'] {
  const keep = 0.5 ** (1 / Math.max(1, points.length / 60));
  const from = runningSums(
    points.map(([, y]) => y),
    keep,
  );
  const after = runningSums(points.map(([, y]) => y).reverse(), keep).reverse();
  return points.map(([x, y], i) => {
    const [before, later] = [from[i], after[i]] as [RunningSum, RunningSum];
    return [x, (before.sum + later.sum - y) / (before.weight + later.weight - 1)] as const;
  });
}

interface RunningSum {
  readonly sum: number;
  readonly weight: number;
}

function runningSums(values: readonly number[], keep: number): RunningSum[] {
  let last: RunningSum = { sum: 0, weight: 0 };
  return values.map((value) => {
    last = { sum: keep * last.sum + value, weight: keep * last.weight + 1 };
    return last;
  });
}

function drawLine({ name, points, colour, faint, marked }: Series, x: (value: number) => number, y: (value: number) => number): string {
  const classes = `line c${colour % colourCount}${faint ? ' faint' : ''}${colour >= colourCount ? ' dashed' : ''}`;
  const places = points.map(([px, py]) => `${fixed(x(px))},${fixed(y(py))}`);
  const line = `<polyline class="${classes}" data-name="${escapeHtml(name)}" points="${places.join(' ')}"/>`;
  if (!marked && points.length > 1) return line;
  const dots = points.map(
    ([px, py]) =>
      `<circle class="dot c${colour % colourCount}" cx="${fixed(x(px))}" cy="${fixed(y(py))}" r="3.5"><title>${escapeHtml(name)}: ${formatNumber(py)} at ${formatTick(px)}</title></circle>`,
  );
  return line + dots.join('');
}

interface Scale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

// Ends on ticks where `rounded`; else on the values themselves.
function scaleOf(values: readonly number[], from: number, to: number, rounded: boolean): Scale {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low === high) {
    const around = Math.abs(low) > 0 ? Math.abs(low) * 0.1 : 1;
    low -= around;
    high += around;
  }
  const step = niceStep((high - low) / 5);
  if (rounded) {
    low = Math.floor(low / step + 1e-9) * step;
    high = Math.ceil(high / step - 1e-9) * step;
  }
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
  return { ticks, at: (value) => from + ((value - low) / (high - low)) * (to - from) };
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const part = rough / power;
  return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 2.5 ? 2.5 : part <= 5 ? 5 : 10);
}

function thin(points: Series['points']): Series['points'] {
  if (points.length <= mostPoints) return points;
  const thinned: (readonly [number, number])[] = [];
  for (let i = 0; i < mostPoints; i++) {
    const bucket = points.slice(Math.floor((i * points.length) / mostPoints), Math.floor(((i + 1) * points.length) / mostPoints));
    const mean = (axis: 0 | 1): number => bucket.reduce((sum, point) => sum + point[axis], 0) / bucket.length;
    thinned.push([mean(0), mean(1)]);
  }
  return thinned;
}

const fixed = (value: number): string => String(Number(value.toFixed(2)));

/** A number for people: four digits that count. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(4)));
}

function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size < 1e-12) return '0';
  if (size < 1e-3 || size >= 1e7) return String(value.toExponential(1)).replace('.0e', 'e');
  return size >= 10_000 ? `${Number((value / 1000).toFixed(1))}k` : String(Number(value.toPrecision(4)));
}
