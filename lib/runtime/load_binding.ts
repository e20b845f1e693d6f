import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeviceError } from '../errors.js';
import { opTableHash } from '../generated/op_table.js';

type ResolveBinary = ((folder: string) => unknown) & { resolve(folder: string): string };

/** The folder of heddle's package.json. Sources run from lib/ in tests and from dist/lib/ in the package: the root is where package.json says so. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).name === 'heddle') return folder;
    if (dirname(folder) === folder)
      throw new DeviceError('heddle is not laid out as its package: no package.json of its own above its code');
    folder = dirname(folder);
  }
}

/** The glibc of this process, such as 2.36; undefined on other systems and on musl. */
function glibcVersion(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime;
}

function missingBinary(root: string, cause: unknown): DeviceError {
  const platform = `${process.platform}-${process.arch}`;
  const glibc = glibcVersion();
  const system = process.platform === 'linux' ? (glibc ? `, glibc ${glibc}` : ', no glibc (musl?)') : '';
  const message = [
    `heddle found no native binary that loads for ${platform}${system}, Node.js ${process.version}.`,
    'Likely causes:',
    `  - no binary is shipped for ${platform}, or its folder was left out when the application was bundled (looked in ${root})`,
    '  - the binary needs a newer system: the Linux ones need glibc 2.34',
    '  - this is a checkout that was not built',
    'To compile it here (needs CMake and a C++ compiler): npx heddle build',
    `The loader said: ${(cause instanceof Error ? cause.message : String(cause)).trim().split('\n')[0]}`,
  ].join('\n');
  return new DeviceError(message, { platform, glibc, node: process.version, root }, { cause });
}

let loaded: { opTableHash: string } | undefined;

/** The native addon, loaded on first use. Throws a DeviceError that says what to do when there is none or it is of another build. */
export function loadBinding<Binding extends { opTableHash: string }>(): Binding {
  if (loaded) return loaded as Binding;
  const root = packageRoot();
  const nodeGypBuild = createRequire(import.meta.url)('node-gyp-build') as ResolveBinary;
  let binding: Binding;
  try {
    binding = nodeGypBuild(root) as Binding;
  } catch (cause) {
    throw missingBinary(root, cause);
  }
  if (binding.opTableHash !== opTableHash) {
    const file = nodeGypBuild.resolve(root);
    throw new DeviceError(
      `the native binary is of another build than the JavaScript: its op table is ${binding.opTableHash}, expected ${opTableHash} (${file}). ` +
        'Compile it again: npx heddle build (in a checkout: npm run build)',
      { file, found: binding.opTableHash, expected: opTableHash },
    );
  }
  loaded = binding;
  return binding;
}
