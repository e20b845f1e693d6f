import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const repository = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** The command line of this checkout. */
export const main = join(repository, 'dist', 'lib', 'cli', 'main.js');
const story = join(repository, 'examples', 'storyteller');

/** The small model that comes with heddle. */
export const base = join(story, 'base');
/** One of its adapters. */
export const adapter = (name: string): string => join(story, 'adapters', name);

export interface Outcome {
  /** undefined where a signal ended the process. */
  code: number | undefined;
  stdout: string;
  stderr: string;
  /** Milliseconds from `act` to the end. */
  milliseconds: number;
}

export interface RunOptions {
  input?: string;
  env?: Record<string, string>;
  /** Another installation than this checkout. */
  cli?: string;
  /** Called once, when something has come out. */
  act?: (child: ChildProcess) => void;
}

/** Runs the command line in a process of its own, as a user does. */
export function heddle(words: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const cli = options.cli ?? main;
  if (!existsSync(cli)) throw new Error(`${cli} is missing: npm run build:ts`);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...words], { cwd: repository, env: { ...process.env, ...options.env } });
    const outcome: Outcome = { code: undefined, stdout: '', stderr: '', milliseconds: 0 };
    let acted = performance.now();
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (outcome.stdout === '' && options.act) {
        acted = performance.now();
        options.act(child);
      }
      outcome.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      outcome.stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code: code ?? undefined, milliseconds: performance.now() - acted }));
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}

/** The lines of `--json` output. */
export function jsonLines(stdout: string): Record<string, unknown>[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Requests as the lines of a file. */
export function toLines(requests: readonly Record<string, unknown>[]): string {
  return requests.map((request) => `${JSON.stringify(request)}\n`).join('');
}

/** Runs the command line on a pseudo terminal; undefined where there is no `script` to make one. Everything it wrote comes back. */
export function onTerminal(words: readonly string[], { columns, rows }: { columns: number; rows: number }): string | undefined {
  const quoted = [process.execPath, main, ...words].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const command = `stty cols ${columns} rows ${rows}; ${quoted}`;
  const made = spawnSync('script', ['-qec', command, '/dev/null'], {
    cwd: repository,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return made.error === undefined && made.status === 0 ? made.stdout.replaceAll('\r\n', '\n') : undefined;
}
