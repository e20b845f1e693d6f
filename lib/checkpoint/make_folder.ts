import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toAccessError } from './json.js';

/**
 * Makes a folder and those above it, where they are not there yet; gives those that it made, outermost first. Throws FileAccessError.
 *
 * Node's own `recursive` never returns where the system says that a folder cannot be found in one that is there, as /proc does.
 */
export async function makeFolder(path: string): Promise<string[]> {
  try {
    return await make(path);
  } catch (error) {
    throw toAccessError(error, 'create', path);
  }
}

async function make(path: string): Promise<string[]> {
  try {
    await mkdir(path);
    return [path];
  } catch (error) {
    if (await isFolder(path)) return [];
    const above = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === path || (await isFolder(above))) throw error;
    return [...(await make(above)), ...(await make(path))];
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
