// Loads a model in a worker thread and generates without end, until the thread is terminated.
import { parentPort, workerData } from 'node:worker_threads';
import { loadModel } from '../../dist/lib/index.js';

parentPort.postMessage('loading');
const model = await loadModel(workerData.folder, { adapters: workerData.adapters });
const names = [undefined, ...Object.keys(workerData.adapters)];
const run = async (i) => {
  for (;;) await model.complete({ tokens: [3 + i, 9, 4], maxTokens: 200, ignoreEos: true, adapter: names[i % names.length] });
};
for (let i = 0; i < 4; i++) void run(i);
for await (const _ of model.generate({ tokens: [5], maxTokens: 3, ignoreEos: true }));
parentPort.postMessage('running');
