// Files that are there whole or not at all.
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { throwIfAborted } from '../runtime/abort_signal.js';
import { toAccessError } from './json.js';

/** Bytes that are written at once: between them a signal is looked at. */
const step = 32 * 1024 * 1024;

/**
 * Writes a file under a temporary name in the same folder, flushes it to the disk, renames it and flushes the folder. Readers of an older
 * file of that name keep what they have; where anything fails, that file stays and the temporary one goes. Throws FileAccessError and what `fill` throws.
 */
export async function writeWholeFile(path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  let file: FileHandle | undefined;
  try {
    const mode = await modeOf(path);
    file = await open(temporary, 'wx', mode);
    await file.chmod(mode); // the bits of the file that is replaced, whatever the umask
    await fill(file);
    await file.sync();
    await file.close();
    file = undefined;
    await rename(temporary, path);
  } catch (error) {
    await file?.close().catch(() => {});
    await unlink(temporary).catch(() => {});
    throw toAccessError(error, 'write', path);
  }
  await syncFolder(dirname(path));
}

/** Writes all of `bytes`: one write may take less. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    throwIfAborted(signal);
    at += (await file.write(bytes, at, Math.min(step, bytes.length - at))).bytesWritten;
  }
}

/** Whether a name is one that `writeWholeFile` gives a file until it is whole, of a file whose name begins so. */
export function isUnfinished(name: string, beginning: string): boolean {
  return name.startsWith(`.${beginning}`) && /\.[0-9a-f]{12}\.tmp$/.test(name);
}

async function modeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mode & 0o777;
  } catch {
    return 0o666 & ~process.umask();
  }
}

/** A rename is only durable once its folder is. Not every file system lets a folder be flushed. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, 'r');
    await folder.sync().finally(() => folder.close());
  } catch {
    // nothing is lost but the guarantee
  }
}
