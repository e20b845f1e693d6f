// log.jsonl: a line per event, whole lines only.
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { toAccessError } from '../checkpoint/json.js';
import { writeAll } from '../checkpoint/whole_file.js';
import type { TrainEvent } from './events.js';

/** Events that a log holds. */
export type LoggedEvent = Extract<TrainEvent, { type: 'plan' | 'step' | 'evaluation' | 'sample' | 'end' }>;

/** A log that is being written. Lines reach the operating system at once, so that they outlive the process. */
export class TrainingLog {
  #size: number;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    size: number,
  ) {
    this.#size = size;
  }

  /**
   * Opens a log to go on with after `step` complete steps: what is in it of later ones, of an earlier end, or of a line without an end, goes.
   * Throws FileAccessError.
   */
  static async open(path: string, step: number): Promise<TrainingLog> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'a+');
      const text = await file.readFile('utf8');
      const kept = step === 0 ? '' : linesUpTo(text, step);
      await file.truncate(0);
      const bytes = Buffer.from(kept);
      await writeAll(file, bytes);
      return new TrainingLog(path, file, bytes.length);
    } catch (error) {
      await file?.close().catch(() => {});
      throw toAccessError(error, 'write', path);
    }
  }

  /** Adds a line. Where it does not fit on the disk, nothing of it stays. Throws FileAccessError. */
  async append(event: LoggedEvent): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(event)}\n`);
    try {
      await writeAll(this.file, line);
      this.#size += line.length;
    } catch (error) {
      await this.file.truncate(this.#size).catch(() => {});
      throw toAccessError(error, 'write', this.path);
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/** The events of a log; lines that are not whole are left out. Throws FileAccessError. */
export async function readLog(path: string): Promise<LoggedEvent[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw toAccessError(error, 'read', path);
  }
  return parse(text).map(({ event }) => event);
}

function linesUpTo(text: string, step: number): string {
  return parse(text)
    .filter(({ event }) => event.step <= step && event.type !== 'end' && event.type !== 'sample')
    .map(({ line }) => `${line}\n`)
    .join('');
}

function parse(text: string): { line: string; event: LoggedEvent }[] {
  const lines = text.split('\n');
  lines.pop(); // empty, or a line without its end
  return lines.flatMap((line) => {
    try {
      const event = JSON.parse(line) as LoggedEvent;
      return typeof event === 'object' && event !== null && Number.isInteger(event.step) ? [{ line, event }] : [];
    } catch {
      return [];
    }
  });
}
