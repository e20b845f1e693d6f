// Runs vitest files against an addon built with the address and undefined-behaviour sanitizers.
//   node tools/run_sanitized_tests.mjs [vitest arguments]
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sanitizers = 'address,undefined';

function step(words, env) {
  const { status, signal } = spawnSync(process.execPath, words, { cwd: root, env, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? (signal ? 1 : 0));
}

function compilerLibrary(name) {
  const file = execFileSync(process.env.CXX ?? 'g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  if (isAbsolute(file)) return file;
  console.error(`${name} not found beside the compiler: install its sanitizer libraries`);
  process.exit(1);
}

step([join('tools', 'build_native.cjs'), '--sanitize', sanitizers], process.env);
step([join('node_modules', 'vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)], {
  ...process.env,
  HEDDLE_PREBUILD: join(root, '.cmake', 'sanitized'),
  // The sanitizer must be the first library of the process; it looks for libstdc++'s throw when it starts.
  LD_PRELOAD: `${compilerLibrary('libasan.so')} ${compilerLibrary('libstdc++.so.6')}`,
  // Node.js itself never frees some of its memory; an allocation that fails must come back as an error, not end the process.
  ASAN_OPTIONS: 'detect_leaks=0:allocator_may_return_null=1:abort_on_error=0',
  UBSAN_OPTIONS: 'print_stacktrace=1',
});
