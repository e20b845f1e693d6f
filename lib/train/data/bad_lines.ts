import { FileFormatError } from '../../errors.js';

/** A line of a data file that cannot be learned from. */
export interface BadLine {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly reason: string;
}

const maxKept = 1000;

/** Collects bad lines; more than allowed end the reading with a FileFormatError that names the line. */
export class BadLines {
  readonly #allowed: number;
  readonly #onBadLine: ((line: BadLine) => void) | undefined;
  readonly #kept: BadLine[] = [];
  #count = 0;

  /** @param allowed bad lines that are skipped @param onBadLine told of each that is skipped */
  constructor(allowed: number, onBadLine?: (line: BadLine) => void) {
    this.#allowed = allowed;
    this.#onBadLine = onBadLine;
  }

  /** All bad lines so far. */
  get count(): number {
    return this.#count;
  }

  /** The first thousand bad lines. */
  get list(): readonly BadLine[] {
    return this.#kept;
  }

  /** Skips a line, or throws where it is one too many. */
  add(bad: BadLine): void {
    this.#count++;
    if (this.#kept.length < maxKept) this.#kept.push(bad);
    if (this.#count <= this.#allowed) {
      this.#onBadLine?.(bad);
      return;
    }
    const where = `${bad.file}:${bad.line}: ${bad.reason}`;
    const many =
      this.#allowed === 0 ? 'maxBadLines lets some be skipped' : `bad line number ${this.#count}, maxBadLines is ${this.#allowed}`;
    throw new FileFormatError(`${where} (${many})`, { ...bad, rule: 'example', badLines: this.#kept.slice() });
  }
}
