// Several texts that grow at once, side by side on a terminal, in as many bands as its width needs; one after the other elsewhere.
import { characters, characterWidth, displayWidth, fitWidth, printable } from './display_width.js';
import { eraseRows, rowsTaken, type Terminal } from './terminal.js';

/** How panes are laid out. */
export interface PanesOptions {
  /** Default: standard output. */
  stream?: Terminal;
  /** Narrowest column; where not even two fit beside each other, texts are shown one after the other. Default: 18. */
  minWidth?: number;
  /** Milliseconds between drawings. Default: 40. */
  interval?: number;
}

interface Pane {
  title: string;
  text: string;
  /** Wrapped lines; the last one still grows. */
  lines: string[];
  finished: boolean;
}

const separator = ' │ ';
const defaultColumns = 80;
const defaultRows = 24;

/** One column of text per title. */
export class Panes implements Disposable {
  readonly #stream: Terminal;
  readonly #minWidth: number;
  readonly #interval: number;
  readonly #panes: Pane[];
  readonly #onResize = (): void => this.#resize();
  #width = 0;
  /** Panes beside each other. */
  #across = 1;
  #sideBySide: boolean;
  #drawn: number[] = [];
  #timer: NodeJS.Timeout | undefined;
  #nextBlock = 0;
  #closed = false;

  constructor(titles: readonly string[], { stream = process.stdout, minWidth = 18, interval = 40 }: PanesOptions = {}) {
    this.#stream = stream;
    this.#minWidth = minWidth;
    this.#interval = interval;
    this.#panes = titles.map((title) => ({ title: printable(title).replaceAll('\n', ' '), text: '', lines: [''], finished: false }));
    this.#sideBySide = stream.isTTY === true && this.#layOut();
    if (!this.#sideBySide) return;
    stream.on?.('resize', this.#onResize);
    this.#draw(false);
  }

  /** Adds text to a pane. */
  write(index: number, text: string): void {
    const pane = this.#panes[index];
    if (pane === undefined || this.#closed) return;
    const safe = printable(text);
    pane.text += safe;
    if (!this.#sideBySide) return;
    appendWrapped(pane.lines, safe, this.#width);
    this.#timer ??= setTimeout(() => this.#draw(false), this.#interval);
  }

  /** Says that a pane is complete. */
  finish(index: number): void {
    const pane = this.#panes[index];
    if (pane === undefined) return;
    pane.finished = true;
    if (!this.#sideBySide) this.#writeBlocks();
  }

  /** Ends the drawing, with every text in full. */
  close(): void {
    if (this.#closed) return;
    for (const pane of this.#panes) pane.finished = true;
    if (this.#sideBySide) {
      this.#draw(true);
      this.#stream.off?.('resize', this.#onResize);
    } else {
      this.#writeBlocks();
    }
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Chooses how many panes lie beside each other; false where they do not fit. */
  #layOut(): boolean {
    const count = Math.max(1, this.#panes.length);
    // The last column of the terminal stays free: writing there makes some terminals wrap.
    const room = (this.#stream.columns ?? defaultColumns) - 1 + separator.length;
    const fitting = Math.min(count, Math.floor(room / (this.#minWidth + separator.length)));
    if (fitting < Math.min(2, count)) return false;
    // Bands of the same size look better than a full one and a rest.
    this.#across = Math.ceil(count / Math.ceil(count / fitting));
    this.#width = Math.floor(room / this.#across) - separator.length;
    return true;
  }

  #draw(all: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const bands = Array.from({ length: Math.ceil(this.#panes.length / this.#across) }, (_, band) =>
      this.#panes.slice(band * this.#across, (band + 1) * this.#across),
    );
    // Rows that have scrolled away cannot be drawn again: while it grows, a long text shows its end.
    const room = Math.max(1, Math.floor(((this.#stream.rows ?? defaultRows) - 1) / bands.length) - 3);
    const rows = bands.flatMap((band, i) => [...(i === 0 ? [] : ['']), ...this.#bandRows(band, all ? Number.POSITIVE_INFINITY : room)]);
    const up = rowsTaken(this.#drawn, this.#stream.columns ?? defaultColumns);
    this.#stream.write(`${eraseRows(up)}${rows.join('\n')}\n`);
    this.#drawn = rows.map(displayWidth);
  }

  #bandRows(panes: readonly Pane[], most: number): string[] {
    const longest = Math.max(...panes.map((pane) => pane.lines.length), 1);
    const height = Math.min(longest, most);
    const rows = [this.#row(panes.map((pane) => fitWidth(pane.title, this.#width))), panes.map(() => '─'.repeat(this.#width)).join('─┼─')];
    for (let i = 0; i < height; i++)
      rows.push(this.#row(panes.map((pane) => pane.lines[Math.max(0, pane.lines.length - height) + i] ?? '')));
    return rows;
  }

  #row(cells: readonly string[]): string {
    const padded = cells.map((text) => text + ' '.repeat(Math.max(0, this.#width - displayWidth(text))));
    return padded.join(separator).trimEnd();
  }

  #resize(): void {
    const up = rowsTaken(this.#drawn, this.#stream.columns ?? defaultColumns);
    if (this.#layOut()) {
      for (const pane of this.#panes) {
        pane.lines = [''];
        appendWrapped(pane.lines, pane.text, this.#width);
      }
      this.#draw(false);
      return;
    }
    // Too narrow now: start over with blocks.
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sideBySide = false;
    this.#stream.off?.('resize', this.#onResize);
    this.#stream.write(eraseRows(up));
    this.#writeBlocks();
  }

  #writeBlocks(): void {
    for (let pane = this.#panes[this.#nextBlock]; pane?.finished === true; pane = this.#panes[++this.#nextBlock]) {
      this.#stream.write(`${this.#nextBlock === 0 ? '' : '\n'}[${pane.title}]\n${pane.text.trimEnd()}\n`);
    }
  }
}

/** Appends text to wrapped lines, of which the last may still change. Breaks at spaces, and words only where they do not fit a line. */
export function appendWrapped(lines: string[], text: string, width: number): void {
  const parts = text.split('\n');
  parts.forEach((part, i) => {
    let open = i === 0 ? (lines.pop() ?? '') + part : part;
    while (displayWidth(open.trimEnd()) > width) {
      const end = breakPoint(open, width);
      // One character that is wider than the column.
      if (end >= open.length) break;
      lines.push(open.slice(0, end).trimEnd());
      open = open.slice(end).replace(/^ /, '');
    }
    lines.push(open);
  });
}

function breakPoint(text: string, width: number): number {
  let used = 0;
  let at = 0;
  let lastSpace = 0;
  for (const character of characters(text)) {
    if (character === ' ' && used <= width && at > 0) lastSpace = at;
    const next = used + characterWidth(character);
    // At least one character, or the text would never end.
    if (next > width && at > 0) return lastSpace > 0 ? lastSpace : at;
    used = next;
    at += character.length;
  }
  return at;
}
