import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Command } from 'commander';
import { DeviceError } from '../errors.js';
import { packageRoot } from '../runtime/load_binding.js';
import { printJson } from './output.js';

/** `heddle build`: compiles the native library where no prebuilt one fits. */
export function buildCommand(): Command {
  return new Command('build')
    .description('compile the native library here; needs CMake and a C++ compiler, no network')
    .option('--json', 'say the result as JSON')
    .addHelpText(
      'after',
      `
Needed only where no prebuilt binary fits: \`heddle inspect\` says whether one does. Takes some minutes; the result is found before prebuilt ones.

Environment:
  HEDDLE_BUILD_JOBS       files compiled at the same time (default: the cores)
  HEDDLE_CMAKE_GENERATOR  default: Ninja where there is one, else Unix Makefiles
  CXX                     the C++ compiler`,
    )
    .action(({ json }: { json?: boolean }) => {
      const root = packageRoot();
      const { status, signal } = spawnSync(process.execPath, [join(root, 'tools', 'build_native.cjs')], {
        stdio: ['ignore', json ? 2 : 1, 2],
      });
      if (signal === 'SIGINT') process.exit(130);
      if (status !== 0) throw new DeviceError('the native library could not be compiled (its output is above)', { status });
      if (json) printJson({ built: true, file: join(root, 'build', 'Release', 'heddle.node') });
    });
}
