// What the command line needs of an output stream, so that tests can pass their own.

/** A stream that may be a terminal. */
export interface Terminal {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
}

/** Rows that lines of these widths take on a terminal that wraps them. */
export function rowsTaken(widths: readonly number[], columns: number): number {
  return widths.reduce((rows, width) => rows + Math.max(1, Math.ceil(width / Math.max(1, columns))), 0);
}

/** Moves to the first of the rows just written and clears everything below. */
export function eraseRows(rows: number): string {
  return `${rows > 0 ? `\x1b[${rows}A` : ''}\r\x1b[J`;
}
