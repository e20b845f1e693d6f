import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../runtime/load_binding.js';

/** `heddle build`: compiles the native library where no prebuilt one fits. */
export function buildCommand(): Command {
  return new Command('build')
    .description('compile the native library here; needs CMake and a C++ compiler')
    .option('--json', 'say the result as JSON')
    .action((flags: { json?: boolean }) => {
      const built = spawnSync(process.execPath, [join(packageRoot(), 'tools', 'build_native.cjs')], { stdio: ['ignore', flags.json ? 2 : 1, 2] });
      if (flags.json) process.stdout.write(`${JSON.stringify({ built: built.status === 0 })}\n`);
      if (built.status !== 0) process.exitCode = 1;
    });
}
