// Builds llama_c against the library and the headers inside the npm packages; nothing is fetched. Prints the program's path.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchFolder } from './shapes.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const packageFolder = (name) => path.join(here, 'node_modules', name);
const platform = `linux-${process.arch}`;

/** The folder with libllama and the ggml libraries that node-llama-cpp ships. */
export const libraryFolder = path.join(packageFolder(`@node-llama-cpp/${platform}`), 'bins', platform);

export function buildLlamaC() {
  const { version } = require(path.join(packageFolder('node-llama-cpp'), 'package.json'));
  const source = path.join(here, 'llama_c.cc');
  const output = path.join(benchFolder, `llama_c-${version}`);
  const program = path.join(output, 'llama_c');
  if (fs.existsSync(program) && fs.statSync(program).mtimeMs > fs.statSync(source).mtimeMs) return program;
  const checkout = path.join(output, 'headers');
  if (!fs.existsSync(path.join(checkout, 'include'))) {
    const bundle = path.join(packageFolder('node-llama-cpp'), 'llama', 'gitRelease.bundle');
    execFileSync('git', ['clone', '--quiet', '--no-checkout', bundle, checkout], { stdio: ['ignore', 'ignore', 'inherit'] });
    execFileSync('git', ['-C', checkout, 'checkout', '--quiet', 'HEAD', '--', 'include', 'ggml/include']);
  }
  const libraries = fs.readdirSync(libraryFolder).filter((file) => /^lib(llama|ggml|ggml-base)(\.v[\d.]+)?\.so$/.test(file));
  execFileSync(
    process.env.CXX ?? 'c++',
    [
      ...['-std=c++17', '-O2', '-Wall', '-Wextra', source, '-o', program],
      ...[`-I${checkout}/include`, `-I${checkout}/ggml/include`, `-L${libraryFolder}`, `-Wl,-rpath,${libraryFolder}`],
      ...libraries.map((file) => `-l:${file}`),
      '-pthread',
    ],
    { stdio: 'inherit' },
  );
  return program;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(buildLlamaC());
