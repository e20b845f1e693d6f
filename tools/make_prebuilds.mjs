// Fills prebuilds/<platform>-<arch>/ through prebuildify, offline where Node.js was installed with its headers.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const prefix = dirname(dirname(process.execPath));
const env = { ...process.env };
// node-gyp wants Node's headers even for a target that compiles nothing itself, and would download them.
if (!env.npm_config_nodedir && existsSync(join(prefix, 'include', 'node', 'node_version.h'))) env.npm_config_nodedir = prefix;

const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js');
const { status } = spawnSync(process.execPath, [prebuildify, '--napi', '--strip', '--quiet'], { cwd: root, env, stdio: 'inherit' });
const file = join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'heddle.node');
if (status !== 0 || !existsSync(file)) {
  console.error(
    `heddle: prebuildify ${status === 0 ? `ended well, but ${file} is not there` : `failed with exit code ${status}`}; npm run rebuild shows why`,
  );
  process.exit(1);
}
// prebuildify moves the binary away; the checkout goes on working with the same one.
const build = join(root, 'build', 'Release');
mkdirSync(build, { recursive: true });
copyFileSync(file, join(build, 'heddle.node'));
const cuda = join(dirname(file), 'libheddle_cuda.so');
if (existsSync(cuda)) copyFileSync(cuda, join(build, 'libheddle_cuda.so'));
else console.log('heddle: without the CUDA library, as nvcc was not found');
console.log(`heddle: ${file}`);
