import { createHash, type Hash, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, rename, stat, symlink, unlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { AbortError, FileAccessError, FileFormatError } from '../errors.js';
import { toAccessError } from './json.js';
import { writeAll, writeWholeFile } from './whole_file.js';

/** A file of a repository on the Hub. */
export interface BlobToStore {
  readonly name: string;
  readonly size: number;
  /** Its name in blobs/: a git blob hash, or the SHA-256 of a large file. */
  readonly oid: string;
  readonly sha256: string | undefined;
  open(): Promise<ReadableStream<Uint8Array>>;
}

/**
 * Stores the file as `folder/<oid>` and returns that path. Until its size and hash are known to be right it has a temporary name of its own, so
 * that two downloads of one file never meet.
 */
export async function storeBlob(folder: string, blob: BlobToStore, signal: AbortSignal, onBytes: (count: number) => void): Promise<string> {
  const path = join(folder, blob.oid);
  const there = await stat(path).catch(() => undefined);
  if (there?.size === blob.size) {
    onBytes(blob.size);
    return path;
  }
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw toAccessError(error, 'write', path);
  }
  await writeWholeFile(path, (file) => receive(file, blob, signal, onBytes));
  return path;
}

/** Makes `link` a relative link to a blob, as Hugging Face's own libraries do; replaces what was there. */
export async function linkBlob(blob: string, link: string): Promise<void> {
  const temporary = `${link}.${randomBytes(6).toString('hex')}.incomplete`;
  try {
    await mkdir(dirname(link), { recursive: true });
    await symlink(relative(dirname(link), blob), temporary);
    await rename(temporary, link);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw toAccessError(error, 'write', link);
  }
}

async function receive(file: FileHandle, blob: BlobToStore, signal: AbortSignal, onBytes: (count: number) => void): Promise<void> {
  const hash = hashOf(blob);
  let received = 0;
  if (blob.size > 0) {
    const reader = (await blob.open()).getReader();
    // A stalled connection has no next chunk to look at the signal after.
    const stop = (): void => void reader.cancel(signal.reason).catch(() => {});
    signal.addEventListener('abort', stop, { once: true });
    try {
      for (;;) {
        if (signal.aborted) throw new AbortError(undefined, { file: blob.name }, { cause: signal.reason });
        const { done, value } = await nextChunk(reader, blob, received, signal);
        if (done) break;
        received += value.length;
        if (received > blob.size) throw wrongSize(blob, `more than ${blob.size}`);
        hash.update(value);
        await writeAll(file, value);
        onBytes(value.length);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      await reader.cancel().catch(() => {});
    }
  }
  if (received !== blob.size) throw wrongSize(blob, String(received));
  const digest = hash.digest('hex');
  const expected = blob.sha256 ?? blob.oid;
  if (digest !== expected)
    throw new FileFormatError(`${blob.name}: what was downloaded has the hash ${digest}, expected ${expected}`, {
      file: blob.name,
      rule: 'hash',
    });
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

async function nextChunk(reader: Reader, blob: BlobToStore, received: number, signal: AbortSignal): ReturnType<Reader['read']> {
  try {
    return await reader.read();
  } catch (cause) {
    if (signal.aborted) throw new AbortError(undefined, { file: blob.name }, { cause });
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FileAccessError(
      `${blob.name}: the download broke off after ${received} of ${blob.size} bytes: ${reason}`,
      { file: blob.name },
      { cause },
    );
  }
}

const wrongSize = (blob: BlobToStore, actual: string): FileAccessError =>
  new FileAccessError(`${blob.name}: the download has ${actual} bytes, expected ${blob.size}`, {
    file: blob.name,
    actual,
    expected: blob.size,
  });

/** Large files are named by their SHA-256, all others as git names its blobs. */
function hashOf(blob: BlobToStore): Hash {
  if (blob.sha256 !== undefined) return createHash('sha256');
  return createHash('sha1').update(`blob ${blob.size}\0`);
}
