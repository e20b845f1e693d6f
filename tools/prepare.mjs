// Runs after `npm ci` in a clone, before tests and before packing: op tables, TypeScript, native code.
// After `npm ci` as `postprepare`: npm 12 warns whoever installs a tarball that has a `prepare` script, though it never runs it.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

function compilerFile() {
  try {
    return createRequire(import.meta.url).resolve('typescript/bin/tsc');
  } catch {
    return undefined;
  }
}

function step(name, words) {
  const { status } = spawnSync(process.execPath, words, { cwd: root, stdio: 'inherit' });
  if (status === 0) return;
  console.error(`heddle: ${name} failed`);
  process.exit(status ?? 1);
}

const tsc = compilerFile();
if (tsc) {
  step('writing the op tables', [join('tools', 'generate_ops.mjs')]);
  step('compiling TypeScript', [tsc, '-p', 'tsconfig.json']);
} else {
  // `npm ci --omit=dev`, as images do after their build: what was built before stays as it is.
  const built = existsSync(join(root, 'dist', 'lib', 'index.js'));
  console.log(
    `heddle: TypeScript is not installed, ${built ? 'keeping dist/ as it is' : 'dist/ was not built: run npm ci without --omit=dev'}`,
  );
}
if (tsc || !existsSync(join(root, 'build', 'Release', 'heddle.node'))) step('compiling native code', [join('tools', 'build_native.cjs')]);
