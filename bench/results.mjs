// bench/results/<machine>.json: everything measured on one kind of machine.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

export function describeMachine() {
  const cpus = os.cpus();
  const flags =
    process.platform === 'linux' ? (/^flags\s*:\s*(.*)$/m.exec(fs.readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').split(' ') : [];
  return {
    cpu: cpus[0].model.trim(),
    cores: cpus.length,
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    instructions: flags.filter((flag) => /^(avx2|avx512f|avx512_bf16|avx512_vnni|amx_bf16)$/.test(flag)),
    system: `${os.type()} ${os.release().split('-')[0]}`,
    node: process.version,
  };
}

/** The commit that was measured, marked when the tree had changes. */
export function measuredCommit() {
  const git = (...words) => execFileSync('git', ['-C', root, ...words], { encoding: 'utf8' }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', 'lib', 'native') !== '';
    return git('rev-parse', '--short', 'HEAD') + (changed ? ' with changes' : '');
  } catch {
    return 'not a git checkout';
  }
}

const { cpu, cores } = describeMachine();
const slug = `${cpu}-${cores}-cores`.toLowerCase().replace(/[^a-z0-9]+/g, '-');
export const resultsFile = path.join(root, 'bench', 'results', `${slug}.json`);

export function readResults() {
  return fs.existsSync(resultsFile)
    ? JSON.parse(fs.readFileSync(resultsFile, 'utf8'))
    : { machine: describeMachine(), scenarios: {}, growth: {} };
}

export function writeResults(results) {
  fs.mkdirSync(path.dirname(resultsFile), { recursive: true });
  fs.writeFileSync(resultsFile, `${JSON.stringify(results, null, 1)}\n`);
}
