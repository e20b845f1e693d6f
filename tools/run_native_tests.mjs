// Builds the native test programs under the address and undefined-behaviour sanitizers and runs them all.
//   node tools/run_native_tests.mjs [name]...      only programs whose name contains one of the words
//   node tools/run_native_tests.mjs --cross aarch64 [name]...      compiled for that processor, without sanitizers, run by qemu-user
// Ends with `N passed, N failed`; exits 1 when anything failed.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const wanted = process.argv.slice(2);
const cross = wanted[0] === '--cross' ? wanted.splice(0, 2)[1] : undefined;
const sanitizers = 'address,undefined';
const folder = join(root, '.cmake', `Release-${cross ?? sanitizers.replace(',', '-')}`, 'tests');
const timeout = 300_000; // a program that hangs is a failure
const programArguments = {
  safetensors_test: [join(root, 'test/fixtures/hostile/safetensors'), '100000'],
  thread_pool_race_test: ['3000'],
};

function build() {
  const kind = cross === undefined ? ['--sanitize', sanitizers] : ['--cross', cross];
  const words = [join(root, 'tools', 'build_native.cjs'), ...kind, '--tests', 'ON'];
  const { status } = spawnSync(process.execPath, words, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

/** Runs one program and returns its counts. A crash, a hang or a sanitizer's report is one failure more. */
function runProgram(name) {
  const words = [join(folder, name), ...(programArguments[name] ?? [])];
  if (cross !== undefined) words.unshift(`qemu-${cross}`, '-L', `/usr/${cross}-linux-gnu`);
  // The thread sanitizer of older compilers does not know the address space layout of newer kernels.
  if (name.endsWith('_race_test')) words.unshift('setarch', '--addr-no-randomize');
  const { status, signal, error, stdout, stderr } = spawnSync(words[0], words.slice(1), { encoding: 'utf8', timeout, maxBuffer: 1 << 26 });
  process.stdout.write(`--- ${name}\n${stdout ?? ''}`);
  process.stderr.write(stderr ?? '');
  const counts = /(\d+) passed, (\d+) failed\s*$/.exec(stdout ?? '');
  const result = { passed: Number(counts?.[1] ?? 0), failed: Number(counts?.[2] ?? 0) };
  if (status !== 0 && result.failed === 0) {
    const reason =
      error?.code === 'ETIMEDOUT' ? `did not end within ${timeout / 1000} s` : (error?.message ?? signal ?? `exit code ${status}`);
    console.error(`${name}: ${reason}`);
    result.failed = 1;
  }
  return result;
}

build();
const programs = readdirSync(folder).filter(
  (name) =>
    name.endsWith('_test') &&
    // Minutes under emulation, and a race is one on every processor.
    !(cross !== undefined && name.endsWith('_race_test')) &&
    (wanted.length === 0 || wanted.some((word) => name.includes(word))),
);
const total = { passed: 0, failed: 0 };
for (const name of programs.sort()) {
  const { passed, failed } = runProgram(name);
  total.passed += passed;
  total.failed += failed;
}
if (programs.length === 0) console.error(`no test program in ${folder}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed || !total.passed ? 1 : 0;
