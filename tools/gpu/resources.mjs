// What ptxas said of every kernel of libheddle_cuda.so when it was compiled: registers, shared memory, stack, spills.
//   node tools/gpu/resources.mjs            a table
//   node tools/gpu/resources.mjs --json     the same for machines
//   node tools/gpu/resources.mjs --check    one line; exits 1 where a kernel spills or uses local memory without a reason in the list
// Reads <object>.resources.txt below .cmake/Release, which tools/gpu/record_resources.sh wrote: build first.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const tree = join(here, '..', '..', '.cmake', 'Release');
/** Kernels that may keep something in local memory, and why: [{ kernel, arch?, stack, reason }]; `stack` is the most bytes. */
const allowed = JSON.parse(readFileSync(join(here, 'allowed_local_memory.json'), 'utf8'));

function* reports(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* reports(path);
    else if (entry.name.endsWith('.resources.txt')) yield path;
  }
}

function read(file) {
  const kernels = [];
  let current;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const entry = /Compiling entry function '([^']+)' for '([^']+)'/.exec(line);
    if (entry) {
      current = {
        file: basename(file).replace('.o.resources.txt', ''),
        kernel: entry[1],
        arch: entry[2],
        registers: 0,
        shared: 0,
        stack: 0,
        spill: 0,
      };
      kernels.push(current);
      continue;
    }
    if (current === undefined) continue;
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (frame) Object.assign(current, { stack: Number(frame[1]), spill: Number(frame[2]) + Number(frame[3]) });
    const used = /Used (\d+) registers/.exec(line);
    if (!used) continue;
    current.registers = Number(used[1]);
    current.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    current = undefined;
  }
  return kernels;
}

// Names as people write them; as they are where binutils are missing.
function readable(kernels) {
  const { stdout, status } = spawnSync('c++filt', ['-p'], { input: kernels.map((k) => k.kernel).join('\n'), encoding: 'utf8' });
  const names = status === 0 ? stdout.split('\n') : [];
  kernels.forEach((kernel, i) => {
    kernel.kernel = (names[i] || kernel.kernel).replaceAll('heddle::', '').replaceAll('(anonymous namespace)::', '');
  });
}

const kernels = existsSync(tree) ? [...reports(tree)].flatMap(read) : [];
if (kernels.length === 0) {
  console.error(`no reports below ${tree}: build with nvcc on the PATH first (npm run build:native)`);
  process.exit(1);
}
readable(kernels);
kernels.sort((a, b) => (a.file + a.kernel + a.arch < b.file + b.kernel + b.arch ? -1 : 1));
const excuse = (k) => allowed.find((a) => k.kernel.includes(a.kernel) && (a.arch ?? k.arch) === k.arch && k.stack <= a.stack && a.reason);
const offenders = kernels.filter((k) => (k.stack > 0 || k.spill > 0) && !excuse(k));

if (process.argv.includes('--json')) console.log(JSON.stringify(kernels, null, 1));
else if (!process.argv.includes('--check')) {
  console.log('registers  shared  stack  spill  arch     kernel');
  for (const k of kernels) {
    const numbers = [k.registers, k.shared, k.stack, k.spill].map((n, i) => String(n).padStart([9, 8, 7, 7][i]));
    console.log(`${numbers.join('')}  ${k.arch.padEnd(7)}  ${k.file}: ${k.kernel}`);
  }
}
for (const k of offenders)
  console.error(
    `${k.file}: ${k.kernel} for ${k.arch} has a stack frame of ${k.stack} bytes and ${k.spill} bytes of spills: not in tools/gpu/allowed_local_memory.json`,
  );
if (!process.argv.includes('--json'))
  console.log(`${kernels.length} kernels and architectures, ${offenders.length} with local memory that nothing excuses`);
if (offenders.length) process.exitCode = 1;
