// A progress bar on a terminal; nothing at all elsewhere.
import { displayWidth, fitWidth, printable } from './display_width.js';
import { eraseRows, rowsTaken, type Terminal } from './terminal.js';

/** What a progress bar shows. */
export interface ProgressOptions {
  /** What is being done. */
  label: string;
  /** How much there is to do; without it only amount and rate are shown. */
  total?: number;
  /** What is counted. `bytes` are written as kB, MB and GB. Default: nothing. */
  unit?: string;
  /** Default: standard error. */
  stream?: Terminal;
  /** Clock in milliseconds. */
  now?: () => number;
}

const redrawMilliseconds = 50;
const barWidth = 24;
// Time in which an old rate loses half its weight.
const rateHalfLife = 2000;

/** Shows how far something is. Draws on standard error, and only if that is a terminal. */
export class ProgressBar implements Disposable {
  readonly #stream: Terminal;
  readonly #label: string;
  readonly #unit: string;
  readonly #now: () => number;
  readonly #shown: boolean;
  readonly #onResize = (): void => this.#draw(true);
  #total: number | undefined;
  #done = 0;
  #rate: number | undefined;
  #rateTime: number;
  #rateDone = 0;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #drawnWidth = 0;
  #ended = false;
  #status: string | undefined;

  constructor({ label, total, unit = '', stream = process.stderr, now = () => performance.now() }: ProgressOptions) {
    this.#stream = stream;
    this.#label = printable(label).replaceAll('\n', ' ');
    this.#unit = unit;
    this.#now = now;
    this.#total = total;
    this.#rateTime = now();
    this.#shown = stream.isTTY === true;
    if (this.#shown) stream.on?.('resize', this.#onResize);
    this.#draw(false);
  }

  /** Sets how much is done, and where it has become known, how much there is. */
  update(done: number, total: number | undefined = this.#total): void {
    if (this.#ended) return;
    this.#done = done;
    this.#total = total;
    this.#measure();
    this.#draw(false);
  }

  /** What stands after the bar instead of amount, rate and time left. */
  set status(text: string) {
    this.#status = printable(text).replaceAll('\n', ' ');
  }

  /** Adds to what is done. */
  advance(amount = 1): void {
    this.update(this.#done + amount);
  }

  /** Lets others write to the terminal: the bar makes room and comes back below. */
  around(write: () => void): void {
    if (this.#shown && !this.#ended) this.#stream.write(this.#erase());
    this.#drawnWidth = 0;
    write();
    this.#draw(true);
  }

  /** Removes the bar; a message stays in its place. */
  finish(message?: string): void {
    if (this.#ended) return;
    this.#ended = true;
    if (!this.#shown) return;
    this.#stream.off?.('resize', this.#onResize);
    this.#stream.write(`${this.#erase()}${message === undefined ? '' : `${printable(message)}\n`}`);
  }

  [Symbol.dispose](): void {
    this.finish();
  }

  #measure(): void {
    const elapsed = this.#now() - this.#rateTime;
    if (elapsed < redrawMilliseconds) return;
    const rate = ((this.#done - this.#rateDone) / elapsed) * 1000;
    const keep = this.#rate === undefined ? 0 : 0.5 ** (elapsed / rateHalfLife);
    this.#rate = keep * (this.#rate ?? 0) + (1 - keep) * rate;
    this.#rateTime += elapsed;
    this.#rateDone = this.#done;
  }

  #draw(force: boolean): void {
    if (!this.#shown || this.#ended) return;
    const now = this.#now();
    const full = this.#total !== undefined && this.#done >= this.#total;
    if (!force && !full && now - this.#drawnAt < redrawMilliseconds) return;
    this.#drawnAt = now;
    // The last column stays free: writing there makes some terminals wrap.
    const line = fitWidth(this.#line(), Math.max(1, (this.#stream.columns ?? 80) - 1));
    this.#stream.write(this.#erase() + line);
    this.#drawnWidth = displayWidth(line);
  }

  // After the window has become narrower, the old line may take several rows.
  #erase(): string {
    return eraseRows(rowsTaken([this.#drawnWidth], this.#stream.columns ?? 80) - 1);
  }

  #line(): string {
    const amount = formatAmount(this.#done, this.#unit);
    const rate = this.#rate === undefined ? '' : `  ${formatAmount(this.#rate, this.#unit)}/s`;
    if (this.#total === undefined) return `${this.#label}  ${amount}${rate}`;
    const part = this.#total <= 0 ? 1 : Math.min(1, Math.max(0, this.#done / this.#total));
    const filled = Math.round(part * barWidth);
    const left =
      this.#rate !== undefined && this.#rate > 0 && part < 1 ? `  ${formatDuration((this.#total - this.#done) / this.#rate)} left` : '';
    const bar = `${this.#label}  ${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${String(Math.floor(part * 100)).padStart(3)} %`;
    if (this.#status !== undefined) return `${bar}  ${this.#status}`;
    return `${bar}  ${amount} of ${formatAmount(this.#total, this.#unit)}${rate}${left}`;
  }
}

/** An amount with its unit: `12.3 MB`, `1,234 tokens`, `7`. */
export function formatAmount(value: number, unit = ''): string {
  if (unit === 'bytes') {
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let size = value;
    let step = 0;
    while (size >= 999.5 && step < units.length - 1) {
      size /= 1000;
      step++;
    }
    return `${step === 0 ? Math.round(size) : size.toFixed(size < 9.95 ? 1 : 0)} ${units[step]}`;
  }
  const number = (value < 10 && !Number.isInteger(value) ? Number(value.toFixed(1)) : Math.round(value)).toLocaleString('en-US');
  return unit === '' ? number : `${number} ${unit}`;
}

/** A duration in seconds as a person would say it: `4 s`, `2 min 05 s`, `1 h 02 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
}
