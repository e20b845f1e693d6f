// Plain aligned tables.
import { displayWidth, fitWidth, printable } from './display_width.js';

/** A cell; numbers stand to the right. */
export type Cell = string | number | undefined;

/** How a table is laid out. */
export interface TableOptions {
  /** First row, with a line under it. */
  header?: readonly string[];
  /** Per column; default: right where all cells are numbers, else left. */
  align?: readonly ('left' | 'right' | undefined)[];
  /** Spaces between columns. Default: 2. */
  gap?: number;
  /** Longest line; the widest column gives way. Default: no limit. */
  maxWidth?: number;
}

/** The lines of a table, without a line break at the end. */
export function formatTable(rows: readonly (readonly Cell[])[], options: TableOptions = {}): string {
  const { header, gap = 2, maxWidth = Number.POSITIVE_INFINITY } = options;
  const columns = Math.max(header?.length ?? 0, ...rows.map((row) => row.length), 0);
  const text = (cell: Cell): string =>
    cell === undefined ? '' : typeof cell === 'number' ? cell.toLocaleString('en-US') : printable(cell).replaceAll('\n', ' ');
  const body = rows.map((row) => Array.from({ length: columns }, (_, i) => text(row[i])));
  const head = header === undefined ? undefined : Array.from({ length: columns }, (_, i) => header[i] ?? '');
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(displayWidth(head?.[i] ?? ''), ...body.map((row) => displayWidth(row[i] as string)), 0),
  );
  shrink(widths, maxWidth - gap * (columns - 1));
  const right = Array.from({ length: columns }, (_, i) => {
    const given = options.align?.[i];
    if (given !== undefined) return given === 'right';
    const cells = rows.map((row) => row[i]).filter((cell) => cell !== undefined);
    return cells.length > 0 && cells.every((cell) => typeof cell === 'number');
  });
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => pad(fitWidth(cell, widths[i] as number), widths[i] as number, right[i] as boolean))
      .join(' '.repeat(gap))
      .trimEnd();
  const lines = body.map(line);
  if (head !== undefined) lines.unshift(line(head), widths.map((width) => '─'.repeat(width)).join(' '.repeat(gap)));
  return lines.join('\n');
}

function shrink(widths: number[], limit: number): void {
  const smallest = 4;
  for (let total = widths.reduce((sum, width) => sum + width, 0); total > limit; total--) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= smallest) return;
    (widths[widest] as number)--;
  }
}

function pad(text: string, width: number, right: boolean): string {
  const fill = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return right ? fill + text : text + fill;
}
