// Threads and processes with a model that end in the middle of things, for tests of any device.
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { adapterFolder, modelFolder, storyteller } from '../models/fixture_files.js';

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** A worker thread that loads a model and generates; `reached` resolves when it says that it has come so far. */
export function startWorker(env: NodeJS.ProcessEnv = process.env): { worker: Worker; reached: (message: string) => Promise<void> } {
  const worker = new Worker(script('generating_worker.mjs'), {
    workerData: { folder: modelFolder('llama'), adapters: { lora: adapterFolder('lora'), dora: adapterFolder('lora-dora') } },
    env,
  });
  const seen = new Set<string>();
  let failure: unknown;
  worker.on('message', (message: string) => seen.add(message));
  worker.on('error', (error) => {
    failure = error;
  });
  const reached = async (message: string): Promise<void> => {
    while (!seen.has(message)) {
      if (failure !== undefined) throw failure;
      await sleep(2);
    }
  };
  return { worker, reached };
}

/** Runs a process that ends in one of the ways of ending_process.mjs; it is killed after `milliseconds`. */
export function runEnding(
  way: string,
  milliseconds: number,
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ code: number | null; signal: string | null; output: string; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script('ending_process.mjs'), way, storyteller.base], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let errors = '';
    const limit = setTimeout(() => child.kill('SIGKILL'), milliseconds);
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      errors += chunk;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(limit);
      resolve({ code, signal, output, errors });
    });
  });
}
