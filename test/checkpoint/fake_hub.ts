import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How the fake Hub misbehaves for one file. */
export type Fault = 'cut' | 'short' | 'long' | 'corrupt' | 'stall' | 'missing' | 'error';

export interface FakeRepository {
  sha: string;
  files: Record<string, Uint8Array | string>;
  /** Stored with git LFS: named by SHA-256. */
  large?: string[];
  token?: string;
  faults: Record<string, Fault>;
  /** Extra entries of the listing. */
  extra?: unknown[];
}

const git = (bytes: Uint8Array): string => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Plays the parts of the Hugging Face Hub that downloads need. */
export class FakeHub {
  readonly repositories: Record<string, FakeRepository> = {};
  readonly requests: string[] = [];
  private readonly server: Server = createServer((request, response) => this.answer(request, response));

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(request: IncomingMessage, response: ServerResponse): unknown {
    const url = new URL(request.url ?? '/', 'http://hub');
    const path = decodeURIComponent(url.pathname);
    this.requests.push(`${request.method} ${path}`);
    const match = /^\/(?:api\/models\/)?([^/]+\/[^/]+)\/(revision|tree|resolve)\/([^/]+)(?:\/(.+))?$/.exec(path);
    const repository = this.repositories[match?.[1] ?? ''];
    if (match === null || repository === undefined) return json(response, 404, { error: 'Repository not found' });
    if (repository.token !== undefined && request.headers.authorization !== `Bearer ${repository.token}`)
      return json(response, 401, { error: 'Invalid credentials' });
    const [, , kind, revision, file] = match;
    if (revision !== 'main' && revision !== repository.sha) return json(response, 404, { error: 'Invalid rev id' });
    if (kind === 'revision') return json(response, 200, { _id: '1', id: match[1], sha: repository.sha, lastModified: '2026-01-01' });
    if (kind === 'tree') return json(response, 200, [...listing(repository), ...(repository.extra ?? [])]);
    return this.sendFile(repository, file ?? '', request, response);
  }

  private sendFile(repository: FakeRepository, name: string, request: IncomingMessage, response: ServerResponse): unknown {
    const content = repository.files[name];
    const fault = repository.faults[name];
    if (content === undefined || fault === 'missing') {
      response.setHeader('X-Error-Code', 'EntryNotFound');
      return json(response, 404, { error: 'Entry not found' });
    }
    const bytes = Buffer.from(content);
    response.setHeader('ETag', `"${git(bytes)}"`);
    if (request.headers.range === 'bytes=0-0') {
      response.writeHead(206, { 'Content-Range': `bytes 0-0/${bytes.length}`, 'Content-Length': 1 });
      return response.end(bytes.subarray(0, 1));
    }
    if (fault === 'error') return json(response, 500, { error: 'Internal error' });
    const half = bytes.subarray(0, bytes.length >> 1);
    if (fault === 'cut' || fault === 'stall') {
      response.writeHead(200, { 'Content-Length': bytes.length });
      return response.write(half, () => fault === 'cut' && response.destroy());
    }
    const sent = fault === 'short' ? half : fault === 'long' ? Buffer.concat([bytes, bytes]) : Buffer.from(bytes);
    if (fault === 'corrupt') sent[sent.length - 1] = (sent.at(-1) ?? 0) ^ 1;
    response.writeHead(200, { 'Content-Length': sent.length });
    return response.end(sent);
  }
}

function listing({ files, large = [] }: FakeRepository): unknown[] {
  return Object.entries(files).map(([path, content]) => {
    const bytes = Buffer.from(content);
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
    return { type: 'file', path, size: bytes.length, oid: git(bytes), ...(large.includes(path) && { lfs }) };
  });
}

function json(response: ServerResponse, status: number, value: unknown): unknown {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  return response.end(JSON.stringify(value));
}
