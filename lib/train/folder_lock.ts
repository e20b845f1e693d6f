// One training at a time in a folder: two would delete each other's checkpoints.
import { randomBytes } from 'node:crypto';
import { readFile, realpath, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { toAccessError } from '../checkpoint/json.js';
import { OptionError } from '../errors.js';

const name = '.training.lock';
// A lock without its words may be one that is just being written.
const unwrittenMilliseconds = 200;

const holderSchema = z.object({ token: z.string(), host: z.string(), pid: z.number().int().positive(), started: z.string() });
type Holder = z.output<typeof holderSchema>;

// Folders that this process trains in: its own number in a file may be that of an earlier one.
const held = new Set<string>();

/** A folder that no other training writes to. */
export class FolderLock implements AsyncDisposable {
  private constructor(
    private readonly folder: string,
    private readonly token: string,
  ) {}

  /**
   * Takes a folder. A process of this machine that is gone does not hold it any more; of another machine nobody can tell, and its lock does
   * not count. Throws OptionError where a training runs in it, FileAccessError.
   */
  static async take(output: string): Promise<FolderLock> {
    const folder = await realpath(output).catch((error: unknown) => {
      throw toAccessError(error, 'read', output);
    });
    if (held.has(folder)) throw inUse(output, process.pid);
    held.add(folder);
    try {
      const token = randomBytes(8).toString('hex');
      const path = join(folder, name);
      const own: Holder = { token, host: hostname(), pid: process.pid, started: await startOf(process.pid) };
      // Again where the lock of a process that is gone was in the way.
      while (!(await create(path, own))) {
        const holder = (await readHolder(path)) ?? (await delay(unwrittenMilliseconds).then(() => readHolder(path)));
        if (holder !== undefined && (await isRunning(holder))) throw inUse(output, holder.pid);
        await unlink(path).catch(() => {});
      }
      return new FolderLock(folder, token);
    } catch (error) {
      held.delete(folder);
      throw toAccessError(error, 'write', join(output, name));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const path = join(this.folder, name);
    if ((await readHolder(path))?.token === this.token) await unlink(path).catch(() => {});
    held.delete(this.folder);
  }
}

function inUse(output: string, pid: number): OptionError {
  return new OptionError(`another training runs in ${output} (process ${pid}): wait for its end, or choose another output folder`, {
    option: 'output',
    output,
    pid,
  });
}

async function create(path: string, holder: Holder): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(holder), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

// Undefined for what a process that was killed did not write to its end.
async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

async function isRunning({ host, pid, started }: Holder): Promise<boolean> {
  // This process holds what is in `held`, and nothing else.
  if (host !== hostname() || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process is one all the same.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return started === (await startOf(pid));
}

// When a process began, so that another one that got its number later is told from it; '' where the system does not say.
async function startOf(pid: number): Promise<string> {
  try {
    const [boot, stat] = await Promise.all([readFile('/proc/sys/kernel/random/boot_id', 'utf8'), readFile(`/proc/${pid}/stat`, 'utf8')]);
    // The name of the program, in parentheses, may hold anything: fields are counted from its end.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${boot.trim()} ${ticks}`;
  } catch {
    return '';
  }
}
