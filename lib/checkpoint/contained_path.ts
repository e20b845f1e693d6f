import { realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { FileAccessError, FileFormatError } from '../errors.js';
import { toAccessError } from './json.js';

/**
 * The real path of a file that lies directly in `folder`, or undefined when there is none. `name` may come from a file of a stranger: only
 * plain names are taken, and links are followed as in `listedInside`.
 */
export async function pathInside(folder: string, name: string): Promise<string | undefined> {
  if (!isPlainName(name))
    throw new FileFormatError(`${folder}: "${shown(name)}" is not the name of a file in this folder`, {
      file: folder,
      name,
      rule: 'plain-name',
    });
  return listedInside(folder, name);
}

/** As `pathInside`, where the file must be there. */
export async function requiredInside(folder: string, name: string): Promise<string> {
  const file = await pathInside(folder, name);
  if (file !== undefined) return file;
  const path = join(folder, name);
  throw new FileAccessError(`cannot read ${path}: no such file`, { file: path, reason: 'ENOENT' });
}

/**
 * The real path of what lies in `folder` under names that listings of it gave, or undefined when nothing is there. A symbolic link must not
 * lead out of the folder. In a Hugging Face cache (`models--org--name/snapshots/<revision>`) it may lead anywhere inside the same repository,
 * as that is how the cache stores its files.
 */
export async function listedInside(folder: string, ...names: string[]): Promise<string | undefined> {
  const root = await real(folder);
  if (root === undefined) return undefined;
  const target = await real(join(root, ...names));
  if (target === undefined) return undefined;
  if (contains(root, target) || contains(repositoryOf(root), target)) return target;
  const name = names.join('/');
  throw new FileFormatError(`${folder}: "${shown(name)}" is a link that leads out of the folder`, {
    file: folder,
    name,
    rule: 'link-outside',
  });
}

/** True for a name that stays in its folder on every system. */
export function isPlainName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  return name !== '' && name !== '.' && name !== '..' && name.length <= 255 && !/[/\\:\u0000-\u001f]/.test(name);
}

const shown = (name: string): string => JSON.stringify(name.length > 96 ? `${name.slice(0, 96)}...` : name).slice(1, -1);

async function real(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toAccessError(error, 'find', path);
  }
}

const contains = (root: string | undefined, path: string): boolean =>
  root !== undefined && path.startsWith(root.endsWith(sep) ? root : root + sep);

/** The cache folder of the repository that a snapshot, or a folder in one, belongs to. */
function repositoryOf(snapshot: string): string | undefined {
  const match = /^(.*[/\\](?:models)--[^/\\]+)[/\\]snapshots[/\\][^/\\]+(?:[/\\]|$)/.exec(snapshot);
  return match?.[1] === undefined || dirname(match[1]) === match[1] ? undefined : match[1];
}
