import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emptyProject, mustRun, pack, repository, run } from './installed_package.ts';

const scratch = mkdtempSync(join(tmpdir(), 'heddle-pack-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const importProgram = "import('heddle').then((h) => console.log(JSON.stringify(Object.keys(h).sort())))";
const requireProgram = "console.log(JSON.stringify(Object.keys(require('heddle')).filter((k) => k !== '__esModule').sort()))";
const sameProgram = "import('heddle').then((h) => console.log(require('heddle').HeddleError === h.HeddleError))";

/** The package as a stranger finds it: it loads both ways, it is one copy, its demo runs, and nothing was built. */
function expectWorking(project: string): void {
  const imported = JSON.parse(mustRun(project, process.execPath, '--input-type=module', '-e', importProgram).stdout) as string[];
  const required = JSON.parse(mustRun(project, process.execPath, '-e', requireProgram).stdout) as string[];
  expect(imported).toContain('HeddleError');
  expect(required).toEqual(imported);
  expect(mustRun(project, process.execPath, '-e', sameProgram).stdout.trim()).toBe('true');
  const installed = join(project, 'node_modules', 'heddle');
  for (const name of ['build', '.cmake']) expect(existsSync(join(installed, name)), `${name} was made by the install`).toBe(false);
}

function expectDemo(project: string): void {
  const { stdout } = mustRun(project, 'npx', '--no-install', 'heddle', 'demo');
  expect(stdout).toMatch(/tok(ens?)?\/s|tokens per second/i);
}

describe('the packed package', () => {
  let tarball = '';
  beforeAll(() => {
    tarball = pack(scratch, { prebuilt: true });
  });

  test('holds what it needs, runs no script at install, and is small', () => {
    const files = mustRun(scratch, 'tar', 'tzf', tarball).stdout.split('\n');
    for (const file of [
      `prebuilds/${process.platform}-${process.arch}/heddle.node`,
      'tools/build_native.cjs',
      'CMakeLists.txt',
      'dist/lib/index.js',
      'dist/lib/index.d.ts',
      'README.md',
      'LICENSE',
    ]) {
      expect(files, file).toContain(`package/${file}`);
    }
    // npm compiles by itself where it sees a binding.gyp, whatever package.json says.
    expect(files).not.toContain('package/binding.gyp');
    expect(files.filter((file) => /^package\/(test|bench|node_modules|build|lib)\//.test(file))).toEqual([]);
    const { scripts } = JSON.parse(mustRun(scratch, 'tar', 'xzOf', tarball, 'package/package.json').stdout) as {
      scripts: Record<string, string>;
    };
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) expect(scripts).not.toHaveProperty(name);
    expect(statSync(tarball).size).toBeLessThan(20 * 2 ** 20);
  });

  test('has every file that its pages link to', () => {
    const packed = join(scratch, 'unpacked');
    mkdirSync(packed);
    mustRun(scratch, 'tar', 'xzf', tarball, '-C', packed);
    const root = join(packed, 'package');
    const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
    expect(pages).toContain('concepts.md');
    for (const page of ['README.md', 'CONTRIBUTING.md', ...pages.map((name) => join('docs', name))])
      for (const [, target] of readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g))
        expect(existsSync(join(root, dirname(page), target as string)), `${page}: ${target}`).toBe(true);
  });

  test('npm install, then npm ci from the lockfile', () => {
    const project = emptyProject(join(scratch, 'plain'));
    mustRun(project, 'npm', 'install', tarball);
    expectWorking(project);
    expectDemo(project);
    mustRun(project, 'npm', 'ci');
    expectWorking(project);
  });

  test('npm install --ignore-scripts', () => {
    const project = emptyProject(join(scratch, 'ignored'));
    mustRun(project, 'npm', 'install', '--ignore-scripts', tarball);
    expectWorking(project);
  });

  test('npm 12, which blocks install scripts', (context) => {
    const tool = emptyProject(join(scratch, 'npm12'));
    const got = run(tool, 'npm', 'install', '--ignore-scripts', 'npm@12');
    if (got.status !== 0) return context.skip('npm 12 cannot be had here');
    const npm = join(tool, 'node_modules', 'npm', 'bin', 'npm-cli.js');
    expect(mustRun(tool, process.execPath, npm, '--version').stdout).toMatch(/^12\./);
    const project = emptyProject(join(scratch, 'with-npm12'));
    const { stdout, stderr } = mustRun(project, process.execPath, npm, 'install', tarball);
    expect(`${stdout}${stderr}`).not.toMatch(/install scripts?|approve/i);
    expectWorking(project);
    mustRun(project, process.execPath, npm, 'ci');
    expectWorking(project);
  });

  test('the same binary on newer versions of Node.js', (context) => {
    const tool = emptyProject(join(scratch, 'nodes'));
    const names = [22, 24, 26].map((major) => ({
      name: `node${major}`,
      spec: `node${major}@npm:node-${process.platform}-${process.arch}@${major}`,
    }));
    const got = run(tool, 'npm', 'install', '--ignore-scripts', ...names.map(({ spec }) => spec));
    if (got.status !== 0) return context.skip('other versions of Node.js cannot be had here');
    const cli = join(scratch, 'plain', 'node_modules', 'heddle', 'dist', 'lib', 'cli', 'main.js');
    for (const { name } of names) {
      const node = join(tool, 'node_modules', name, 'bin', 'node');
      mustRun(join(scratch, 'plain'), node, '-e', sameProgram);
      mustRun(join(scratch, 'plain'), node, cli, 'demo');
    }
  });

  test('a binary of another build is refused with both hashes', () => {
    const project = join(scratch, 'plain');
    const table = join(project, 'node_modules', 'heddle', 'dist', 'lib', 'generated', 'op_table.js');
    const text = readFileSync(table, 'utf8');
    writeFileSync(table, text.replace(/opTableHash = '\w+'/, "opTableHash = 'ffffffffffffffff'"));
    const { status, stderr } = run(project, 'npx', '--no-install', 'heddle', 'demo');
    writeFileSync(table, text);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/ffffffffffffffff/);
    expect(stderr).toMatch(/npx heddle build/);
  });
});

describe('the packed package without a binary for this platform', () => {
  // Where a compiler cache knows the files below this checkout, what `npm ci` compiled need not be compiled again.
  const cached = process.env.CCACHE_BASEDIR === resolve(repository);
  const folder = cached ? mkdtempSync(join(repository, '.cmake', 'pack-')) : scratch;
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let project = '';
  beforeAll(() => {
    project = emptyProject(join(folder, 'bare'));
    mustRun(project, 'npm', 'install', pack(emptyProject(join(scratch, 'bare-pack')), { prebuilt: false }));
    // What it compiles with came with it, and is not found further up.
    for (const name of ['node-addon-api', 'node-api-headers']) expect(existsSync(join(project, 'node_modules', name)), name).toBe(true);
  });

  test('loads, and says what to do once the binary is needed', () => {
    expectWorking(project);
    const { status, stderr } = run(project, 'npx', '--no-install', 'heddle', 'demo');
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/no native binary/);
    expect(stderr).toMatch(/npx heddle build/);
  });

  test('npx heddle build compiles one, and the demo runs', () => {
    mustRun(project, 'npx', '--no-install', 'heddle', 'build');
    const installed = join(project, 'node_modules', 'heddle');
    expect(existsSync(join(installed, 'build', 'Release', 'heddle.node'))).toBe(true);
    expect(existsSync(join(installed, '.cmake'))).toBe(false);
    expectDemo(project);
  }, 900_000);
});
