import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { afterAll } from 'vitest';
import type { TrainEvent } from '../../lib/train/events.js';

/** A process that trains. */
export interface TrainingProcess {
  readonly child: ChildProcess;
  /** Events so far. */
  readonly events: TrainEvent[];
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>;
}

const program = join(import.meta.dirname, 'heddle_bigram.mjs');
const compiled = mkdtempSync(join(tmpdir(), 'heddle-bigram-'));
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

// A process runs the compiled lib/: types go, and imports lead there.
function compileModel(): string {
  const source = readFileSync(join(import.meta.dirname, 'bigram_model.ts'), 'utf8');
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };
  const lib = pathToFileURL(join(import.meta.dirname, '..', '..', 'dist', 'lib')).href;
  const file = join(compiled, 'bigram_model.mjs');
  writeFileSync(file, ts.transpileModule(source, { compilerOptions }).outputText.replaceAll('../../lib', lib));
  return pathToFileURL(file).href;
}

let model: string | undefined;

/** Starts `heddle train` over the small model. @param onEvent with `--json` among the words: called for each event, as it comes */
export function startTraining(
  words: readonly string[],
  options: { delay?: number; onEvent?: (event: TrainEvent, child: ChildProcess) => void } = {},
): TrainingProcess {
  model ??= compileModel();
  const env = { ...process.env, HEDDLE_THREADS: '1', BIGRAM_MODULE: model, BIGRAM_DELAY: String(options.delay ?? 0) };
  const child = spawn(process.execPath, [program, ...words], { env });
  const events: TrainEvent[] = [];
  let stdout = '';
  let stderr = '';
  let read = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (!words.includes('--json')) return;
    for (let end = stdout.indexOf('\n', read); end >= 0; end = stdout.indexOf('\n', read)) {
      const event = JSON.parse(stdout.slice(read, end)) as TrainEvent;
      read = end + 1;
      events.push(event);
      options.onEvent?.(event, child);
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Awaited<TrainingProcess['ended']>>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, events, ended };
}
