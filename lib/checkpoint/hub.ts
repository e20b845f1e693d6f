import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AbortError, FileAccessError, FileFormatError, HeddleError, OptionError } from '../errors.js';
import { throwIfAborted } from '../runtime/abort_signal.js';
import { isPlainName } from './contained_path.js';
import { type BlobToStore, linkBlob, storeBlob } from './hub_blob.js';
import { cachedSnapshot, hubEnvironment, isCommit, isHubId, repositoryFolder } from './hub_cache.js';
import { writeAll, writeWholeFile } from './whole_file.js';

/** How far a download is. */
export interface HubProgress {
  /** The file that just received bytes. */
  readonly file: string;
  readonly fileBytes: number;
  readonly fileReceived: number;
  /** Of all files that are downloaded; files found in the cache do not count. */
  readonly totalBytes: number;
  readonly totalReceived: number;
}

/** Options of downloadModel. */
export interface HubOptions {
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** Default: HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string;
  /** Default: the standard cache (HF_HUB_CACHE, HF_HOME). */
  cacheFolder?: string;
  /** Default: HF_TOKEN. */
  token?: string;
  /** Use only what is in the cache. Default: HF_HUB_OFFLINE. */
  offline?: boolean;
  onProgress?: (progress: HubProgress) => void;
  signal?: AbortSignal;
}

type Hub = typeof import('@huggingface/hub');

interface RemoteFile {
  path: string;
  size: number;
  oid: string;
  sha256: string | undefined;
}

const parallelDownloads = 3;
const wanted = [
  /^(adapter_)?config\.json$/,
  /^generation_config\.json$/,
  /^(tokenizer|tokenizer_config|special_tokens_map|added_tokens|chat_template)\.json$/,
  /^chat_template\.jinja$/,
  /^(model(-\d{5}-of-\d{5})?|adapter_model)\.safetensors$/,
  /^model\.safetensors\.index\.json$/,
];

/**
 * Brings configuration, tokenizer and safetensors files of a model or adapter on the Hugging Face Hub into the standard cache and returns its
 * snapshot folder. A file shows up under its name only once it is complete and its hash is right; a revision only once all its files are.
 * Needs the package @huggingface/hub.
 */
export async function downloadModel(id: string, options: HubOptions = {}): Promise<string> {
  const env = hubEnvironment();
  const {
    revision = 'main',
    endpoint = env.endpoint,
    cacheFolder = env.cacheFolder,
    token = env.token,
    offline = env.offline,
    signal,
  } = options;
  if (!isHubId(id)) throw new OptionError(`"${id}" is not the id of a model on the Hugging Face Hub: expected org/name`, { id });
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(revision) || revision.split('/').some((part) => /^\.+$/.test(part)))
    throw new OptionError(`revision is "${revision}": expected a branch, a tag or a commit`, { option: 'revision' });
  if (token !== undefined && !token.startsWith('hf_'))
    throw new OptionError('the access token (HF_TOKEN) does not begin with hf_', { option: 'token' });
  throwIfAborted(signal);
  if (offline) {
    const found = await cachedSnapshot(cacheFolder, id, revision);
    if (found === undefined)
      throw new FileAccessError(`${id} (${revision}) is not in ${cacheFolder}, and HF_HUB_OFFLINE forbids to download it`, {
        id,
        revision,
        cacheFolder,
      });
    return found;
  }
  const hub = await loadHub();
  const access = { hubUrl: endpoint, accessToken: token, fetch: abortableFetch(signal) };
  try {
    const { sha } = await hub.modelInfo({ ...access, name: id, revision, additionalFields: ['sha'] });
    if (!isCommit(sha))
      throw new FileFormatError(`${endpoint} answered for ${id}: revision ${revision} is not a commit hash`, { id, rule: 'commit' });
    const files: RemoteFile[] = [];
    for await (const entry of hub.listFiles({ ...access, repo: id, revision: sha })) {
      if (entry.type === 'file' && isPlainName(entry.path) && wanted.some((pattern) => pattern.test(entry.path)))
        files.push(remoteFile(id, entry));
    }
    if (!files.some(({ path }) => path === 'config.json' || path === 'adapter_config.json'))
      throw new FileFormatError(`${id} (${revision}) has no config.json and no adapter_config.json`, { id, rule: 'missing-config' });
    const repository = repositoryFolder(cacheFolder, id);
    const snapshot = join(repository, 'snapshots', sha);
    await downloadAll(files, snapshot, repository, options, async (file) => {
      const blob = await hub.downloadFile({ ...access, repo: id, path: file.path, revision: sha });
      if (blob === null) throw new FileAccessError(`${id}: ${file.path} is listed but cannot be found`, { id, file: file.path });
      return blob.stream() as ReadableStream<Uint8Array>;
    });
    if (revision !== sha) await writeReference(join(repository, 'refs', ...revision.split('/')), sha);
    return snapshot;
  } catch (error) {
    throw toHubError(error, id, revision, endpoint, signal);
  }
}

/** The folder that a path or an `org/name` stands for. A folder of that name on this machine comes first. */
export async function resolveModelFolder(pathOrId: string, options: HubOptions = {}): Promise<string> {
  if (typeof pathOrId !== 'string')
    throw new OptionError(`the model is of type ${typeof pathOrId}: expected the path of its folder or org/name`, { path: pathOrId });
  const facts = await stat(pathOrId).catch(() => undefined);
  if (facts?.isDirectory()) return pathOrId;
  if (facts !== undefined) throw new OptionError(`${pathOrId} is a file: expected a model folder or org/name`, { path: pathOrId });
  if (isHubId(pathOrId)) return downloadModel(pathOrId, options);
  throw new FileAccessError(`there is no folder ${pathOrId}, and it is not an id (org/name) on the Hugging Face Hub`, { path: pathOrId });
}

async function loadHub(): Promise<Hub> {
  try {
    return await import('@huggingface/hub');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' || !message.includes('@huggingface/hub')) throw cause;
    throw new OptionError(
      'downloading from the Hugging Face Hub needs the package @huggingface/hub: npm install @huggingface/hub',
      { package: '@huggingface/hub' },
      { cause },
    );
  }
}

function remoteFile(id: string, entry: { path: string; size: number; oid?: string; lfs?: { oid: string; size: number } }): RemoteFile {
  const oid = entry.lfs?.oid ?? entry.oid ?? '';
  const size = entry.lfs?.size ?? entry.size;
  // The hash becomes a file name.
  if (!/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(oid) || !Number.isSafeInteger(size) || size < 0)
    throw new FileFormatError(`${id}: the Hub lists ${entry.path} without a usable hash or size`, {
      id,
      file: entry.path,
      rule: 'listing',
    });
  return { path: entry.path, size, oid, sha256: entry.lfs?.oid };
}

type Open = (file: RemoteFile) => Promise<ReadableStream<Uint8Array>>;

async function downloadAll(files: RemoteFile[], snapshot: string, repository: string, options: HubOptions, open: Open): Promise<void> {
  const missing: RemoteFile[] = [];
  for (const file of files) {
    const there = await stat(join(snapshot, file.path)).catch(() => undefined);
    if (there?.size !== file.size) missing.push(file);
  }
  const totalBytes = missing.reduce((sum, { size }) => sum + size, 0);
  let totalReceived = 0;
  // The first failure stops the other downloads too.
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const queue = [...missing];
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      throwIfAborted(signal);
      const current = file;
      let fileReceived = 0;
      const blob: BlobToStore = {
        name: current.path,
        size: current.size,
        oid: current.oid,
        sha256: current.sha256,
        open: () => open(current),
      };
      const path = await storeBlob(join(repository, 'blobs'), blob, signal, (bytes) => {
        fileReceived += bytes;
        totalReceived += bytes;
        options.onProgress?.({ file: current.path, fileBytes: current.size, fileReceived, totalBytes, totalReceived });
      });
      await linkBlob(path, join(snapshot, current.path));
    }
  };
  const workers = Array.from({ length: parallelDownloads }, () =>
    work().catch((error) => {
      stop.abort();
      throw error;
    }),
  );
  const results = await Promise.allSettled(workers);
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
  const first = failures.find((error) => !(error instanceof AbortError)) ?? failures[0];
  if (first !== undefined) throw first;
}

async function writeReference(path: string, hash: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeWholeFile(path, (file) => writeAll(file, Buffer.from(hash)));
}

function abortableFetch(signal: AbortSignal | undefined): typeof fetch {
  if (signal === undefined) return fetch;
  return (input, init) => fetch(input, { ...init, signal: init?.signal ? AbortSignal.any([init.signal, signal]) : signal });
}

function toHubError(error: unknown, id: string, revision: string, endpoint: string, signal: AbortSignal | undefined): Error {
  if (signal?.aborted) return error instanceof AbortError ? error : new AbortError(undefined, { id }, { cause: error });
  if (error instanceof HeddleError) return error;
  const { statusCode: status, message, cause } = error as Error & { statusCode?: number; cause?: { code?: string; message?: string } };
  const details = { id, revision, endpoint, status };
  if (status === 401 || status === 403)
    return new FileAccessError(
      `${endpoint} refuses ${id} (status ${status}): it is private, gated or does not exist. Set HF_TOKEN to a token that may read it`,
      details,
      { cause: error },
    );
  if (status === 404) return new FileAccessError(`${endpoint} has no model ${id} with revision ${revision}`, details, { cause: error });
  const reason = status === undefined ? (cause?.code ?? cause?.message ?? message ?? String(error)) : `status ${status}: ${message}`;
  return new FileAccessError(`cannot download ${id} from ${endpoint}: ${reason}`, details, { cause: error });
}
