// Threads and processes with a model that end in the middle of things, for tests of any device.
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { adapterFolder, modelFolder, storyteller } from '../models/fixture_files.js';
import { type Ended, runScript } from './run_script.js';

/** A worker thread that loads a model and generates; `reached` resolves when it says that it has come so far. */
export function startWorker(env: NodeJS.ProcessEnv = process.env): { worker: Worker; reached: (message: string) => Promise<void> } {
  const worker = new Worker(fileURLToPath(new URL('generating_worker.mjs', import.meta.url)), {
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
export function runEnding(way: string, milliseconds: number, env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  return runScript(new URL('ending_process.mjs', import.meta.url), [way, storyteller.base], env, milliseconds);
}
