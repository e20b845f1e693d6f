// What the addon asks of the machine it runs on: its glibc floor and the libraries it needs.
//   node tools/check_binary.mjs [build/Release/heddle.node]
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const file = resolve(process.argv[2] ?? join(root, 'build', 'Release', 'heddle.node'));
const newestGlibc = '2.34';
// Part of glibc, or in its package wherever it is: everything else may be missing on a slim image.
const allowed = /^(libc|libm|libdl|libpthread|librt|libgcc_s|ld-linux[\w-]*)\.so/;

if (process.platform !== 'linux') {
  console.log(`binary: nothing to check on ${process.platform}`);
  process.exit(0);
}
const read = (program, words) => execFileSync(program, words, { encoding: 'utf8', maxBuffer: 1 << 28 });
const compare = (a, b) => a.localeCompare(b, 'en', { numeric: true });

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
const strangers = defined.filter((name) => !/^(napi_|node_api_)/.test(name));
if (strangers.length) faults.push(`exports ${strangers.join(', ')}: expected only the entry points of Node-API`);
if (faults.length) {
  for (const fault of faults) console.error(`binary: ${fault}`);
  process.exit(1);
}
