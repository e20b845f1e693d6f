#!/usr/bin/env node
'use strict';
// Compiles the addon. The one way in for npm scripts, binding.gyp, CI and `npx heddle build`.
//   node tools/build_native.cjs [--config Release] [--dest build/Release] [--arch x64] [--sanitize address,undefined] [--tests ON] [--emulator ON]
//   node tools/build_native.cjs --cross aarch64 [--tests ON]      for Linux on another processor, with <processor>-linux-gnu-g++
// Environment: HEDDLE_CUDA=AUTO|ON|OFF, HEDDLE_BUILD_JOBS, HEDDLE_CMAKE_GENERATOR, CXX.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const oldestCmake = [3, 22];
// node-gyp's make hands its own flags to every child; CMake's make must not see them.
const leaked = ['MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MAKEOVERRIDES', 'V', 'BUILDTYPE'];

class BuildError extends Error {}

function readArguments(words) {
  const options = { config: 'Release' };
  for (let i = 0; i < words.length; i += 2) {
    const name = words[i].replace(/^--/, '');
    if (!words[i].startsWith('--') || !['config', 'dest', 'arch', 'sanitize', 'tests', 'emulator', 'cross'].includes(name)) {
      throw new BuildError(`unknown argument ${words[i]}: expected --config, --dest, --arch, --sanitize, --tests, --emulator or --cross`);
    }
    if (words[i + 1] === undefined) throw new BuildError(`${words[i]} needs a value`);
    options[name] = words[i + 1];
  }
  return options;
}

const crossCompiler = (processor) => `${processor}-linux-gnu-g++`;

function findProgram(name, env) {
  if (path.isAbsolute(name)) return fs.existsSync(name) ? name : undefined;
  for (const folder of (env.PATH || '').split(path.delimiter)) {
    const file = path.join(folder, name);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      if (fs.statSync(file).isFile()) return file;
    } catch {
      // not here: look in the next folder
    }
  }
  return undefined;
}

function findCmake(env) {
  const cmake = findProgram('cmake', env);
  if (!cmake)
    throw new BuildError(
      `cmake not found: install CMake ${oldestCmake.join('.')} or newer (Debian and Ubuntu: apt-get install cmake; macOS: brew install cmake)`,
    );
  const { stdout } = spawnSync(cmake, ['--version'], { env, encoding: 'utf8' });
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(stdout || '') || [];
  if (major === undefined) throw new BuildError(`${cmake} --version did not run: is this CMake installation whole?`);
  if (Number(major) < oldestCmake[0] || (Number(major) === oldestCmake[0] && Number(minor) < oldestCmake[1])) {
    throw new BuildError(`cmake ${major}.${minor} is too old: expected ${oldestCmake.join('.')} or newer`);
  }
  return cmake;
}

function checkCompiler(env, cross) {
  if (cross) {
    if (findProgram(crossCompiler(cross), env)) return;
    throw new BuildError(
      `cross compiler ${crossCompiler(cross)} not found: install it (Debian and Ubuntu: apt-get install g++-${cross}-linux-gnu)`,
    );
  }
  const chosen = env.CXX ? [env.CXX.split(' ')[0]] : ['c++', 'g++', 'clang++'];
  if (chosen.some((name) => findProgram(name, env))) return;
  const what = env.CXX ? `C++ compiler CXX=${env.CXX} not found` : 'no C++ compiler found (looked for c++, g++ and clang++)';
  throw new BuildError(`${what}: install one (Debian and Ubuntu: apt-get install g++ make; macOS: xcode-select --install)`);
}

function chooseGenerator(env) {
  if (env.HEDDLE_CMAKE_GENERATOR) return env.HEDDLE_CMAKE_GENERATOR;
  if (findProgram('ninja', env)) return 'Ninja';
  if (findProgram('make', env)) return 'Unix Makefiles';
  throw new BuildError('neither make nor ninja found: install one (Debian and Ubuntu: apt-get install make)');
}

function holdsCuda(folder) {
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .some((e) => (e.isDirectory() ? holdsCuda(path.join(folder, e.name)) : e.name.endsWith('.cu')));
}

function reportCuda(env, say) {
  const wanted = (env.HEDDLE_CUDA || 'AUTO').toUpperCase();
  if (!['AUTO', 'ON', 'OFF'].includes(wanted)) throw new BuildError(`HEDDLE_CUDA is ${env.HEDDLE_CUDA}: expected AUTO, ON or OFF`);
  if (wanted === 'OFF') return say('CUDA library left out: HEDDLE_CUDA=OFF');
  const reason = !findProgram('nvcc', env)
    ? 'nvcc not found'
    : !holdsCuda(path.join(root, 'native'))
      ? 'this version has no CUDA sources'
      : undefined;
  if (!reason) return undefined;
  if (wanted === 'ON') throw new BuildError(`HEDDLE_CUDA=ON, but ${reason}`);
  return say(`CUDA library left out: ${reason}`);
}

// A tree made by another generator or for a folder that has moved cannot be configured again.
function dropForeignTree(tree, generator) {
  const cache = path.join(tree, 'CMakeCache.txt');
  if (!fs.existsSync(cache)) return;
  const text = fs.readFileSync(cache, 'utf8');
  const entry = (name) => (new RegExp(`^${name}:INTERNAL=(.*)$`, 'm').exec(text) || [])[1];
  if (entry('CMAKE_GENERATOR') === generator && entry('CMAKE_HOME_DIRECTORY') === root) return;
  fs.rmSync(tree, { recursive: true, force: true });
}

// In a checkout. An installed package calls CMake directly, whatever lies above it.
function cmakeJsProgram() {
  const program = path.join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js');
  return fs.existsSync(program) ? program : undefined;
}

function nodeHeaders() {
  try {
    return [require('node-api-headers').include_dir, require('node-addon-api').include_dir].map((folder) => path.resolve(folder)).join(';');
  } catch {
    throw new BuildError('node-api-headers and node-addon-api are not installed beside heddle: run npm install again');
  }
}

function run(program, words, env, live) {
  const result = spawnSync(program, words, {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: live ? 'inherit' : ['ignore', 'pipe', 'pipe'],
  });
  if (result.error) throw new BuildError(`${program} did not start: ${result.error.message}`);
  if (result.status === 0) return;
  if (!live) process.stderr.write(`${result.stdout}${result.stderr}`);
  throw new BuildError(
    `${path.basename(words[0] || program)} failed with ${result.signal || `exit code ${result.status}`} (its output is above)`,
  );
}

function build(options, env, say) {
  if (options.cross) {
    if (options.emulator === 'ON' || options.sanitize) throw new BuildError('--cross goes with neither --emulator nor --sanitize');
    env.HEDDLE_CUDA = 'OFF';
  }
  const cmake = findCmake(env);
  checkCompiler(env, options.cross);
  const generator = chooseGenerator(env);
  reportCuda(env, say);
  const emulator = options.emulator === 'ON';
  const variant = options.cross || (options.sanitize || '').replace(/,/g, '-');
  const kind = emulator ? 'Emulator' : variant ? `${options.config}-${variant}` : options.config;
  // Like a package's root, for HEDDLE_PREBUILD.
  const besides = options.cross || (options.sanitize && 'sanitized');
  const dest = path.resolve(
    root,
    options.dest || (besides ? path.join('.cmake', besides, 'build', 'Release') : path.join('build', options.config)),
  );
  // Outside build/, which node-gyp empties and keeps a Makefile of its own in.
  const tree = path.join(root, '.cmake', kind);
  const jobs = env.HEDDLE_BUILD_JOBS || String(os.availableParallelism());
  const definitions = {
    CMAKE_LIBRARY_OUTPUT_DIRECTORY: dest,
    HEDDLE_SANITIZE: options.sanitize || '',
    HEDDLE_CUDA: (env.HEDDLE_CUDA || 'AUTO').toUpperCase(),
    HEDDLE_TESTS: options.tests || 'OFF',
    HEDDLE_EMULATOR: options.emulator || 'OFF',
  };
  if (options.cross)
    Object.assign(definitions, {
      CMAKE_SYSTEM_NAME: 'Linux',
      CMAKE_SYSTEM_PROCESSOR: options.cross,
      CMAKE_CXX_COMPILER: crossCompiler(options.cross),
    });
  const cmakeJs = cmakeJsProgram();
  const live = Boolean(process.stdout.isTTY);
  dropForeignTree(tree, generator);
  say(`compiling native code (${kind}, ${jobs} at a time)`);
  const start = Date.now();
  if (cmakeJs) {
    const common = ['--directory', root, '--out', tree, '--config', options.config, '--log-level', 'warn'];
    if (options.arch) common.push('--arch', options.arch);
    const defines = Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`);
    // configure always: `cmake-js build` alone skips it when a cache exists, and a changed option would be ignored
    run(process.execPath, [cmakeJs, 'configure', ...common, '--generator', generator, ...defines], env, false);
    const target = emulator ? ['--target', 'heddle_cuda_emulated'] : [];
    run(process.execPath, [cmakeJs, 'build', ...common, ...target, '--parallel', jobs], env, live);
  } else {
    Object.assign(definitions, { CMAKE_BUILD_TYPE: options.config, CMAKE_JS_INC: nodeHeaders() });
    const defines = Object.entries(definitions).map(([name, value]) => `-D${name}=${value}`);
    run(cmake, ['-S', root, '-B', tree, '-G', generator, ...defines], env, false);
    run(cmake, ['--build', tree, '--config', options.config, '--parallel', jobs], env, live);
    fs.rmSync(path.join(root, '.cmake'), { recursive: true, force: true });
  }
  const file = emulator ? path.join(root, 'build', 'emulator', 'libheddle_cuda.so') : path.join(dest, 'heddle.node');
  if (!fs.existsSync(file)) throw new BuildError(`the build ended without an error, but ${file} is not there`);
  say(`${path.relative(process.cwd(), file)} ready after ${((Date.now() - start) / 1000).toFixed(1)} s`);
}

try {
  const env = { ...process.env };
  for (const name of leaked) delete env[name];
  build(readArguments(process.argv.slice(2)), env, (line) => console.log(`heddle: ${line}`));
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`heddle: ${error.message}`);
  process.exitCode = 1;
}
