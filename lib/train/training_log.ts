// log.jsonl: a line per event, whole lines only.
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { toAccessError } from '../checkpoint/json.js';
import { writeAll } from '../checkpoint/whole_file.js';
import type { TrainEvent } from './events.js';

const lineFeed = 0x0a;

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
      const size = step === 0 ? 0 : keptBytes(await file.readFile(), step);
      await file.truncate(size);
      return new TrainingLog(path, file, size);
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
  // What follows the last line's end is empty, or a line that is not whole.
  return text
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => parseLine(line) ?? []);
}

// Events come in the order of their steps: what goes is the rest from some line on.
function keptBytes(bytes: Buffer, step: number): number {
  let kept = 0;
  for (let end = bytes.indexOf(lineFeed); end >= 0; end = bytes.indexOf(lineFeed, kept)) {
    const event = parseLine(bytes.toString('utf8', kept, end));
    if (event === undefined || event.step > step || event.type === 'end' || event.type === 'sample') break;
    kept = end + 1;
  }
  return kept;
}

function parseLine(line: string): LoggedEvent | undefined {
  try {
    const event = JSON.parse(line) as LoggedEvent | null;
    return typeof event === 'object' && event !== null && Number.isInteger(event.step) ? event : undefined;
  } catch {
    return undefined;
  }
}
