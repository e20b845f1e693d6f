// What the addon and the CUDA library beside it ask of the machine they run on: the glibc floor and the libraries they need.
//   node tools/check_binary.mjs [folder]      default build/Release
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = resolve(process.argv[2] ?? join(root, 'build', 'Release'));
const newestGlibc = '2.34';
const mostPackedCuda = 20; // MiB, as npm packs it
// Part of glibc, or in its package wherever it is: everything else may be missing on a slim image.
const allowed = /^(libc|libm|libdl|libpthread|librt|libgcc_s|ld-linux[\w-]*)\.so/;

if (process.platform !== 'linux') {
  console.log(`binary: nothing to check on ${process.platform}`);
  process.exit(0);
}
const read = (program, words) => execFileSync(program, words, { encoding: 'utf8', maxBuffer: 1 << 28 });
const compare = (a, b) => a.localeCompare(b, 'en', { numeric: true });

/** The faults of one file; `entry` says which functions it may give to others. */
function check(file, entry) {
  const symbols = [...read('objdump', ['-T', file]).matchAll(/\(?GLIBC_([\d.]+)\)?\s+(\S+)$/gm)].map(([, version, name]) => ({
    version,
    name,
  }));
  const floor =
    symbols
      .map((s) => s.version)
      .sort(compare)
      .at(-1) ?? 'none';
  const needed = [...read('readelf', ['-d', file]).matchAll(/\(NEEDED\)[^[]*\[([^\]]+)\]/g)].map(([, name]) => name);
  const defined = [...read('objdump', ['-T', file]).matchAll(/ g\s+DF \.text\s+\S+\s+\S*\s*(\S+)$/gm)].map(([, name]) => name);

  console.log(`binary: ${file}, ${(statSync(file).size / 2 ** 20).toFixed(2)} MiB`);
  console.log(`binary: needs ${needed.join(', ')}; glibc ${floor}; exports ${defined.join(', ') || 'nothing'}`);

  const faults = needed.filter((name) => !allowed.test(name)).map((name) => `needs ${name}: expected nothing beyond glibc and libgcc_s`);
  for (const { version, name } of symbols) {
    if (compare(version, newestGlibc) > 0) faults.push(`${name} needs glibc ${version}: expected ${newestGlibc} at most`);
  }
  const strangers = defined.filter((name) => !entry.test(name));
  if (strangers.length) faults.push(`exports ${strangers.join(', ')}: expected ${entry} only`);
  return faults;
}

const faults = check(join(folder, 'heddle.node'), /^(napi_|node_api_)/);
const cuda = join(folder, 'libheddle_cuda.so');
if (existsSync(cuda)) {
  faults.push(...check(cuda, /^heddle_cuda_library$/));
  const packed = gzipSync(readFileSync(cuda), { level: 9 }).length / 2 ** 20;
  console.log(`binary: ${cuda} packs to ${packed.toFixed(2)} MiB`);
  if (packed > mostPackedCuda) faults.push(`${cuda} packs to ${packed.toFixed(2)} MiB: expected ${mostPackedCuda} at most`);
}
for (const fault of faults) console.error(`binary: ${fault}`);
if (faults.length) process.exitCode = 1;
