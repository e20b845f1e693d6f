import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** What the Hugging Face environment variables say. */
export interface HubEnvironment {
  endpoint: string;
  cacheFolder: string;
  offline: boolean;
  token: string | undefined;
}

/** Reads HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_HUB_OFFLINE and HF_TOKEN as Hugging Face's own libraries do. */
export function hubEnvironment(env: NodeJS.ProcessEnv = process.env): HubEnvironment {
  const set = (name: string): string | undefined => env[name] || undefined;
  const home = set('HF_HOME') ?? join(set('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  return {
    endpoint: (set('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, ''),
    cacheFolder: set('HF_HUB_CACHE') ?? set('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub'),
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ''),
    token: set('HF_TOKEN'),
  };
}

/** True for `org/name`: what the Hub calls a model, and no path on this machine. */
export function isHubId(text: string): boolean {
  const word = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;
  const parts = text.split('/');
  return parts.length === 2 && parts.every((part) => word.test(part) && !part.includes('..') && !part.includes('--'));
}

/** Where a repository lies in the cache: blobs/, refs/ and snapshots/ are below it. */
export function repositoryFolder(cacheFolder: string, id: string): string {
  return join(cacheFolder, `models--${id.replace('/', '--')}`);
}

const commit = /^[0-9a-f]{40}$/;

/** True for a full commit hash, the only name that a snapshot folder may have. */
export const isCommit = (text: string): boolean => commit.test(text);

/** The snapshot folder of a revision that was downloaded before, or undefined. */
export async function cachedSnapshot(cacheFolder: string, id: string, revision: string): Promise<string | undefined> {
  const repository = repositoryFolder(cacheFolder, id);
  let hash = revision;
  if (!isCommit(revision)) {
    try {
      hash = (await readFile(join(repository, 'refs', ...revision.split('/')), 'utf8')).trim();
    } catch {
      return undefined;
    }
  }
  if (!isCommit(hash)) return undefined;
  const folder = join(repository, 'snapshots', hash);
  for (const name of ['config.json', 'adapter_config.json']) {
    const there = await stat(join(folder, name)).catch(() => undefined);
    if (there !== undefined) return folder;
  }
  return undefined;
}
