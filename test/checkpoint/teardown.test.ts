import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { packageRoot } from '../../lib/runtime/load_binding.js';

const folder = mkdtempSync(join(tmpdir(), 'heddle-teardown-'));
const file = join(folder, 'large.safetensors');
beforeAll(async () => {
  await writeSafetensors(file, [{ name: 'a', dtype: 'U8', shape: [8 << 20], data: new Uint8Array(8 << 20) }]);
});
afterAll(() => rmSync(folder, { recursive: true }));

// In processes of their own: what is tested is that they end well.
const run = (program: string) =>
  spawnSync(process.execPath, ['-e', program], {
    encoding: 'utf8',
    timeout: 100_000,
    env: { ...process.env, ROOT: packageRoot(), FILE: file },
  });

const load = `const { SafetensorsFile } = require(require('node:path').join(process.env.ROOT, 'node_modules/node-gyp-build'))(process.env.ROOT);`;
const readAlways = `${load}
  (async () => {
    for (;;) {
      const file = await SafetensorsFile.open(process.env.FILE);
      const { begin, end } = file.entries()[0];
      for (let i = 0; i < 4; i++) file.read(begin, end).catch(() => {});
      await file.read(begin, begin + 10);
      require('node:worker_threads').parentPort?.postMessage(1);
    }
  })();`;

it('workers may be killed while they open and read', () => {
  const { status, signal, stderr } = run(`
    const { Worker } = require('node:worker_threads');
    (async () => {
      for (let i = 0; i < 30; i++) {
        const worker = new Worker(${JSON.stringify(readAlways)}, { eval: true });
        worker.on('error', (error) => { console.error(error); process.exit(7); });
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, i % 5));
        await worker.terminate();
      }
    })();`);
  expect({ status, signal, stderr }).toMatchObject({ status: 0, signal: null });
});

it('the process may exit while files are read', () => {
  for (const wait of [0, 1, 20]) {
    const { status, signal, stderr } = run(`${readAlways} setTimeout(() => process.exit(3), ${wait});`);
    expect({ status, signal, stderr }).toMatchObject({ status: 3, signal: null, stderr: '' });
  }
});

it('a worker may exit by itself while files are read', () => {
  const inside = `${readAlways} setTimeout(() => process.exit(5), 30);`;
  const { status, signal } = run(`
    const worker = new (require('node:worker_threads').Worker)(${JSON.stringify(inside)}, { eval: true });
    worker.on('exit', (code) => process.exit(code));`);
  expect({ status, signal }).toEqual({ status: 5, signal: null });
});

it('files that nobody closes are closed when they are collected', () => {
  const { status, stdout } = run(`${load}
    const fs = require('node:fs');
    (async () => {
      for (let i = 0; i < 300; i++) await SafetensorsFile.open(process.env.FILE);
      require('node:v8').setFlagsFromString('--expose-gc');
      const collect = require('node:vm').runInNewContext('gc');
      for (let i = 0; i < 5; i++) { collect(); await new Promise((resolve) => setTimeout(resolve, 10)); }
      console.log(fs.readdirSync('/proc/self/fd').filter((fd) => {
        try { return fs.readlinkSync('/proc/self/fd/' + fd) === process.env.FILE; } catch { return false; }
      }).length);
    })();`);
  expect(status).toBe(0);
  expect(Number(stdout)).toBeLessThan(5);
});
