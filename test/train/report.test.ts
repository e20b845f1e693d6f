// The report: what it says, that nothing in it comes from elsewhere or steers the page, and how a real browser shows it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import type { PlanEvent, StepEvent } from '../../lib/train/events.js';
import { parseTrainOptions } from '../../lib/train/options.js';
import { escapeHtml } from '../../lib/train/report/escape_html.js';
import { lineChart, smooth } from '../../lib/train/report/line_chart.js';
import { renderReport } from '../../lib/train/report/write_report.js';
import type { LoggedEvent } from '../../lib/train/training_log.js';
import { dumpDom, findBrowser, takePicture } from './browser.ts';

const folder = mkdtempSync(join(tmpdir(), 'heddle-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const names = ['poet', 'a-name-that-is-as-long-as-names-may-be-and-has-no-place-to-break-'.repeat(2).slice(0, 128)];
const settings = parseTrainOptions({
  model: 'examples/storyteller',
  output: `/somewhere/${'deep/'.repeat(40)}`,
  adapters: Object.fromEntries(names.map((name) => [name, { data: `${'path/'.repeat(30)}${name}.txt` }])),
});

function eventsOf(steps: number): LoggedEvent[] {
  const planned = { weights: 5e6, parameters: 1e6, optimiser: 2e6, arena: 3e6, workspace: 1e5, total: 11_100_000 };
  const adapter = { parameters: 4096, steps, stepsPerEpoch: 10 };
  const plan: PlanEvent = {
    ...{ type: 'plan', step: 0, time: '2026-11-28T01:02:03.000Z', model: 'storyteller', device: 'cpu', totalSteps: steps, planned },
    adapters: Object.fromEntries(names.map((name) => [name, adapter])),
  };
  const events: LoggedEvent[] = [plan];
  for (let step = 1; step <= steps; step++) {
    const numbers = (i: number) => ({
      ...{ loss: 4 - 2 * (1 - Math.exp(-step / 40)) + 0.1 * Math.sin(step * (7 + i)) + i / 2, rate: 2e-4 * (1 - step / steps) },
      ...{ gradientNorm: 1, tokens: 512, targets: 500, epoch: 0 },
    });
    const event: StepEvent = {
      ...{
        type: 'step',
        step,
        totalSteps: steps,
        seconds: step / 2,
        tokens: 1024 * step,
        tokensPerSecond: 2048,
        secondsLeft: 1,
        peakBytes: 1.15e7,
      },
      adapters: Object.fromEntries(names.map((name, i) => [name, numbers(i)])),
    };
    events.push(event);
    if (step % 50 === 0) {
      const loss = 4 - step / 200;
      const own = { loss, perplexity: Math.exp(loss), targets: 900 };
      events.push({ type: 'evaluation', step, adapters: Object.fromEntries(names.map((name) => [name, own])) });
    }
  }
  for (const adapter of [null, 'poet'])
    events.push({
      type: 'sample',
      step: steps,
      adapter,
      prompt: 'O <captain> ',
      text: `my & ${'captain'.repeat(60)}\u0007\ud800 <script>document.title='x'</script>`,
    });
  const adapters = Object.fromEntries(names.map((name) => [name, { folder: 'x', loss: 2, perplexity: 7 }]));
  events.push({
    ...{ type: 'end', step: steps, seconds: steps / 2, tokens: 1024 * steps, tokensPerSecond: 2048, plannedBytes: planned.total },
    ...{ peakBytes: 1.15e7, processPeakBytes: 9e7, report: 'report.html', adapters },
  });
  return events;
}

describe('the report', () => {
  const html = renderReport(eventsOf(200), settings);

  it('needs nothing from elsewhere, and runs nothing', () => {
    expect(html).not.toMatch(/<script|<link|<img|@import|url\(|https?:|\son\w+=/i);
    expect(html).toContain('O &lt;captain&gt; ');
    expect(html).toContain('my &amp; captain');
  });

  it('has curves of each adapter, held-out losses, rates, texts and settings', () => {
    expect(html.match(/<svg /g)).toHaveLength(3);
    // Loss: raw and mean of each; held out and rate: one of each.
    for (const name of names) expect(html.split(`data-name="${name}"`).length - 1).toBe(4);
    for (const text of ['Steps', '200 of 200', 'Memory, planned', '11 MB', 'base', '20.09', 'Continuations', 'All settings'])
      expect(html).toContain(text);
  });

  it('is one of a training that has only begun, too', () => {
    for (const events of [[], eventsOf(200).slice(0, 1), eventsOf(200).slice(0, 2)]) {
      const early = renderReport(events, settings);
      expect(early).toContain('</html>');
      expect(early).not.toMatch(/NaN|undefined|Infinity/);
    }
  });
});

describe('lineChart', () => {
  const options = { title: 'a <b>', xLabel: 'x', yLabel: 'y' };
  const pointsIn = (svg: string): number[][] =>
    (/points="([^"]*)"/.exec(svg)?.[1] ?? '').split(' ').map((point) => point.split(',').map(Number));

  it('keeps every point inside, whatever the numbers are', () => {
    const lines = [
      [[1, 5]],
      [
        [1, 5],
        [2, 5],
      ],
      [
        [1, -1e-12],
        [2, 3e-12],
      ],
      [
        [0, 1e12],
        [1e9, -1e12],
      ],
      Array.from({ length: 5000 }, (_, i) => [i, Math.sin(i)]),
    ] as [number, number][][];
    for (const points of lines) {
      const svg = lineChart([{ name: 'n', points, colour: 9 }], options);
      expect(svg).not.toMatch(/NaN|Infinity|<b>/);
      const drawn = pointsIn(svg);
      expect(drawn.length).toBe(Math.min(points.length, 600));
      for (const [x, y] of drawn as [number, number][]) {
        expect(x).toBeGreaterThanOrEqual(70);
        expect(x).toBeLessThanOrEqual(742);
        expect(y).toBeGreaterThanOrEqual(14);
        expect(y).toBeLessThanOrEqual(240);
      }
    }
  });

  it('draws larger numbers higher, and later ones further right', () => {
    const [[x0, y0], [x1, y1]] = pointsIn(
      lineChart(
        [
          {
            name: 'n',
            points: [
              [1, 2],
              [2, 3],
            ],
            colour: 0,
          },
        ],
        options,
      ),
    ) as [number[], number[]];
    expect(x1).toBeGreaterThan(x0 as number);
    expect(y1).toBeLessThan(y0 as number);
  });

  it('says so where nothing was measured', () => {
    expect(lineChart([{ name: 'n', points: [], colour: 0 }], options)).toContain('Nothing was measured');
  });

  it('smooths without a lag at the beginning', () => {
    const constant = smooth(Array.from({ length: 100 }, (_, i) => [i, 3] as const));
    for (const [, y] of constant) expect(y).toBeCloseTo(3, 12);
    const jumping = smooth(Array.from({ length: 1000 }, (_, i) => [i, i % 2] as const));
    expect(jumping.at(-1)?.[1]).toBeCloseTo(0.5, 1);
  });
});

describe('escapeHtml', () => {
  it('leaves nothing that a browser would understand', () => {
    expect(escapeHtml(`<a href="x" b='y'>&\u0000\ud800\u{1f600}`)).toBe(
      '&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\ufffd\ufffd\u{1f600}',
    );
  });
});

const browser = findBrowser();
if (browser === undefined) console.warn('no browser on the PATH (HEDDLE_BROWSER names one): the report is not opened in one');

describe.skipIf(browser === undefined)('in a real browser', () => {
  const page = join(folder, 'report.html');
  writeFileSync(page, renderReport(eventsOf(200), settings));
  // The page as it is, with a script that measures it when it is laid out.
  const measured = join(folder, 'measured.html');
  const measure = `<script>addEventListener('load', () => {
    const right = document.documentElement.clientWidth;
    const inScroller = (e) => e.closest('.scroll') !== null && !e.matches('.scroll');
    const outside = [...document.querySelectorAll('body *')].filter((e) => !inScroller(e) && e.getBoundingClientRect().right > right + 0.5);
    const clipped = [...document.querySelectorAll('.facts dd, blockquote, li, h1')].filter((e) => e.scrollWidth > e.clientWidth + 1);
    const svgs = [...document.querySelectorAll('svg')];
    const texts = svgs.flatMap((svg) => [...svg.querySelectorAll('text')].map((t) => [t.getBoundingClientRect(), svg.getBoundingClientRect()]));
    const cut = texts.filter(([t, s]) => t.left < s.left - 1 || t.right > s.right + 1 || t.top < s.top - 1 || t.bottom > s.bottom + 1);
    const lines = [...document.querySelectorAll('polyline')].map((line) => ({ name: line.dataset.name, length: line.getTotalLength(), stroke: getComputedStyle(line).stroke }));
    document.body.dataset.found = JSON.stringify({ right, scroll: document.documentElement.scrollWidth, outside: outside.map((e) => e.outerHTML.slice(0, 80)),
      clipped: clipped.map((e) => e.outerHTML.slice(0, 80)), cut: cut.length, texts: texts.length, lines, ground: getComputedStyle(document.body).backgroundColor });
  });</script></body>`;
  writeFileSync(measured, readFileSync(page, 'utf8').replace('</body>', measure));

  interface Found {
    right: number;
    scroll: number;
    outside: string[];
    clipped: string[];
    cut: number;
    texts: number;
    lines: { name: string; length: number; stroke: string }[];
    ground: string;
  }
  const look = (width: number, dark: boolean): Found => {
    const dom = dumpDom(browser as string, measured, { width, height: 900, dark, profile: join(folder, 'profile') });
    expect(dom).toContain('Continuations');
    const found = /data-found="([^"]*)"/.exec(dom)?.[1];
    return JSON.parse(
      (found as string).replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'),
    ) as Found;
  };

  it.each([500, 1280])('nothing overflows in a window of %i pixels, and every curve is drawn', (width) => {
    const found = look(width, false);
    expect(found.right).toBeLessThanOrEqual(width);
    expect(found.scroll).toBeLessThanOrEqual(found.right);
    expect(found.outside).toEqual([]);
    expect(found.clipped).toEqual([]);
    expect(found.cut).toBe(0);
    expect(found.texts).toBeGreaterThan(30);
    expect(found.lines).toHaveLength(8);
    for (const { length, stroke } of found.lines) {
      expect(length).toBeGreaterThan(100);
      expect(stroke).toMatch(/^rgb/);
    }
    // Two adapters, two colours.
    expect(new Set(found.lines.map(({ name, stroke }) => `${name} ${stroke}`)).size).toBe(2);
    expect(found.ground).toBe('rgb(255, 255, 255)');
  });

  it('is dark where the reader wants it dark', () => {
    const found = look(900, true);
    expect(found.ground).toBe('rgb(20, 23, 27)');
    expect(found.lines[0]?.stroke).toBe('rgb(108, 176, 255)');
  });

  it('can be seen', () => {
    const picture = join(folder, 'report.png');
    takePicture(browser as string, page, picture, { width: 1000, height: 1400, profile: join(folder, 'profile') });
    const colours = coloursOf(readFileSync(picture));
    expect(colours.get('255,255,255')).toBeGreaterThan(100_000);
    // Lines of both adapters.
    expect(colours.get('11,98,196')).toBeGreaterThan(200);
    expect(colours.get('196,64,11')).toBeGreaterThan(200);
  });
});

/** How often each colour is in a PNG of 8 bits per channel. */
function coloursOf(png: Buffer): Map<string, number> {
  const width = png.readUInt32BE(16);
  const channels = png[25] === 6 ? 4 : 3;
  const chunks: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at))
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') chunks.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  const raw = inflateSync(Buffer.concat(chunks));
  const stride = width * channels;
  let above = new Uint8Array(stride);
  const colours = new Map<string, number>();
  for (let row = 0; row * (stride + 1) < raw.length; row++) {
    const filter = raw[row * (stride + 1)] as number;
    const line = Uint8Array.from(raw.subarray(row * (stride + 1) + 1, (row + 1) * (stride + 1)));
    for (let i = 0; i < stride; i++) {
      const left = i >= channels ? (line[i - channels] as number) : 0;
      const up = above[i] as number;
      const corner = i >= channels ? (above[i - channels] as number) : 0;
      const nearest = (): number => {
        const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
        return a <= b && a <= c ? left : b <= c ? up : corner;
      };
      const guess = [0, left, up, (left + up) >> 1, filter === 4 ? nearest() : 0][filter] as number;
      line[i] = ((line[i] as number) + guess) & 255;
    }
    for (let i = 0; i < stride; i += channels) {
      const colour = `${line[i]},${line[i + 1]},${line[i + 2]}`;
      colours.set(colour, (colours.get(colour) ?? 0) + 1);
    }
    above = line;
  }
  return colours;
}
