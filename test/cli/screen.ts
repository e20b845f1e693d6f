import type { Terminal } from '../../lib/cli/terminal.js';

/** A terminal without a scroll limit that understands what the command line writes: \r, \n, cursor up, clear below. */
export class Screen implements Terminal {
  isTTY = true;
  readonly lines: string[] = [''];
  written = '';
  #row = 0;
  #column = 0;
  #listeners: (() => void)[] = [];

  constructor(
    public columns = 80,
    public rows = 24,
  ) {}

  write(text: string): void {
    this.written += text;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are steered by them
    for (const [token] of text.matchAll(/\x1b\[(\d*)([A-Z])|[\s\S]/gu)) {
      if (token === '\r') this.#column = 0;
      else if (token === '\n') {
        this.#row++;
        this.#column = 0;
        while (this.lines.length <= this.#row) this.lines.push('');
      } else if (token.startsWith('\x1b[')) this.#control(token);
      else this.#put(token);
    }
  }

  on(_: 'resize', listener: () => void): void {
    this.#listeners.push(listener);
  }

  off(_: 'resize', listener: () => void): void {
    this.#listeners = this.#listeners.filter((other) => other !== listener);
  }

  get listeners(): number {
    return this.#listeners.length;
  }

  /** Lines that have become too long take several rows, as on a real terminal. */
  resize(columns: number): void {
    this.columns = columns;
    const old = this.lines.splice(0);
    const cursor = this.#row;
    old.forEach((line, i) => {
      if (i === cursor) this.#row = this.lines.length + Math.floor(Math.max(0, this.#column - 1) / columns);
      for (let at = 0; at === 0 || at < line.length; at += columns) this.lines.push(line.slice(at, at + columns));
    });
    for (const listener of this.#listeners) listener();
  }

  get text(): string {
    return this.lines.join('\n').trimEnd();
  }

  #control(token: string): void {
    const count = Number(token.slice(2, -1) || 1);
    if (token.endsWith('A')) {
      if (count > this.#row) throw new Error(`moved ${count} rows up from row ${this.#row}`);
      this.#row -= count;
    } else if (token.endsWith('J')) {
      this.lines.length = this.#row + 1;
      this.lines[this.#row] = (this.lines[this.#row] ?? '').slice(0, this.#column);
    } else throw new Error(`unknown control ${JSON.stringify(token)}`);
  }

  #put(character: string): void {
    const line = [...(this.lines[this.#row] ?? '')];
    line[this.#column++] = character;
    this.lines[this.#row] = line.join('');
  }
}
