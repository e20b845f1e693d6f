import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const repository = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const prebuildFolder = join('prebuilds', `${process.platform}-${process.arch}`);

/** Environment of a stranger's shell: nothing of the npm or vitest that runs this test. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(lifecycle|package|command|execpath|node_execpath)|HEDDLE_|VITEST|NODE_OPTIONS|NODE_ENV|INIT_CWD|FORCE_COLOR)/.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_prefer_offline: 'true',
    npm_config_update_notifier: 'false',
    // The CUDA library takes minutes more, and was compiled from the same sources for this checkout.
    HEDDLE_CUDA: 'OFF',
  };
}

export interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

export function run(folder: string, program: string, ...words: string[]): Outcome {
  const { status, stdout, stderr, error } = spawnSync(program, words, {
    cwd: folder,
    env: cleanEnvironment(),
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** Like run, but a failure throws with everything the program said. */
export function mustRun(folder: string, program: string, ...words: string[]): Outcome {
  const outcome = run(folder, program, ...words);
  if (outcome.status !== 0) {
    throw new Error(`${program} ${words.join(' ')} in ${folder} ended with ${outcome.status}\n${outcome.stdout}\n${outcome.stderr}`);
  }
  return outcome;
}

/** Packs what would be published, with the binary of this checkout as its prebuilt one; returns the tarball. */
export function pack(folder: string, options: { prebuilt: boolean }): string {
  const staging = join(folder, 'staging');
  rmSync(staging, { recursive: true, force: true });
  const { files } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { files: string[] };
  for (const name of [...files, 'package.json', 'README.md', 'LICENSE', 'binding.gyp']) {
    const source = join(repository, name);
    if (name === 'prebuilds' || !existsSync(source)) continue;
    mkdirSync(dirname(join(staging, name)), { recursive: true });
    cpSync(source, join(staging, name), { recursive: true });
  }
  if (options.prebuilt) {
    const built = join(repository, 'build', 'Release', 'heddle.node');
    mkdirSync(join(staging, prebuildFolder), { recursive: true });
    copyFileSync(existsSync(built) ? built : join(repository, prebuildFolder, 'heddle.node'), join(staging, prebuildFolder, 'heddle.node'));
    chmodSync(join(staging, prebuildFolder, 'heddle.node'), 0o755);
    const cuda = join(repository, 'build', 'Release', 'libheddle_cuda.so');
    if (existsSync(cuda)) copyFileSync(cuda, join(staging, prebuildFolder, 'libheddle_cuda.so'));
  }
  const { stdout } = mustRun(staging, 'npm', 'pack', '--ignore-scripts', '--json', '--pack-destination', folder);
  return join(folder, (JSON.parse(stdout) as { filename: string }[])[0]?.filename ?? '');
}

/** An empty project in which the tarball can be installed. */
export function emptyProject(folder: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "name": "stranger", "private": true, "version": "1.0.0" }\n');
  return folder;
}
