// Checks the rules of the tree that no compiler checks. Prints each breach as file:line and exits 1 when there is one.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..'));
const lineCap = 400;
const folders = ['lib', 'native', 'test', 'tools', 'bench', 'examples', 'docs'];
const sourceKinds = ['.ts', '.mjs', '.cjs', '.js', '.cc', '.h', '.cu', '.cuh', '.py'];

// lib/ from right to left: a file imports from its own folder, from layers below its own, and from neighbours that do not import it back.
const layers = [
  ['errors', 'generated'],
  ['runtime'],
  ['plan'],
  ['graph'],
  ['ops'],
  ['adapters', 'models'],
  ['engine', 'train'],
  ['server', 'cli', 'index'],
];
const leaves = { checkpoint: ['errors', 'generated', 'runtime'], text: ['errors', 'generated', 'runtime', 'checkpoint'] };
const layerOf = (part) => (part in leaves ? 5 : layers.findIndex((layer) => layer.includes(part)));

const breaches = [];
const breach = (file, line, text) => breaches.push(`${relative(root, file)}${line ? `:${line}` : ''}: ${text}`);
const textOf = (file) => readFileSync(file, 'utf8');
const lineAt = (text, position) => text.slice(0, position).split('\n').length;

function* walk(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (['node_modules', 'dist', 'build', 'api', '.cmake', '.venv'].includes(entry.name)) continue;
    const path = join(folder, entry.name);
    checkName(path, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile()) yield path;
  }
}

function checkName(path, name) {
  if (/^(utils?|helpers?|common|misc)$/i.test(name.replace(/\..*$/, '')))
    breach(path, 0, 'a name that says nothing: name it after what it holds');
}

/** The text with comments (and, if asked, string contents) blanked, line breaks kept. */
function withoutComments(text, python, strings) {
  const blank = (match) => match.replace(/[^\n]/g, ' ');
  const pattern = python
    ? /#[^\n]*|"""[\s\S]*?"""|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g
    : /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  return text.replace(pattern, (match) => (/^["'`]/.test(match) && !match.startsWith('"""') && !strings ? match : blank(match)));
}

function checkLength(file, text) {
  const lines = withoutComments(text, file.endsWith('.py'), false)
    .split('\n')
    .filter((line) => line.trim()).length;
  if (lines > lineCap) breach(file, 0, `${lines} lines of code: at most ${lineCap}, split it by what it does`);
}

// ---- lib/: direction of imports ----

const crossings = new Map(); // 'models>adapters' -> where it was first seen

function partOf(file) {
  const path = relative(join(root, 'lib'), file).split(sep);
  return path[0].replace(/\.[jt]s$/, '');
}

function mayImport(from, to) {
  if (from === to) return true;
  if (from in leaves) return leaves[from].includes(to);
  return layerOf(to) <= layerOf(from);
}

function checkImports(file, text) {
  const from = partOf(file);
  if (layerOf(from) < 0) breach(file, 0, `lib/${from} has no place in the order of layers (tools/check_layout.mjs)`);
  for (const { fileName, pos } of ts.preProcessFile(text, true, true).importedFiles) {
    if (!fileName.startsWith('.')) continue;
    const target = resolve(dirname(file), fileName);
    const line = lineAt(text, pos);
    if (!target.startsWith(join(root, 'lib') + sep)) {
      breach(file, line, `imports ${fileName}, which is outside lib/`);
      continue;
    }
    if (!fileName.endsWith('.js')) breach(file, line, `imports ${fileName}: write the .js extension`);
    const to = partOf(target);
    if (!mayImport(from, to)) breach(file, line, `lib/${from} imports lib/${to}: imports go towards runtime only`);
    else if (from !== to && layerOf(from) === layerOf(to)) crossings.set(`${from}>${to}`, `${relative(root, file)}:${line}`);
  }
}

function checkCrossings() {
  for (const [pair, where] of crossings) {
    const [from, to] = pair.split('>');
    const back = crossings.get(`${to}>${from}`);
    if (back && from < to) breaches.push(`${where}: lib/${from} and lib/${to} import each other (the other way: ${back})`);
  }
}

// ---- native/ ----

function checkNative(file, text) {
  const path = relative(join(root, 'native'), file).split(sep).join('/');
  const find = (pattern, source, message) => {
    for (const match of source.matchAll(pattern)) breach(file, lineAt(source, match.index), message(match));
  };
  const code = withoutComments(text, false, false);
  if (!path.startsWith('addon/')) {
    find(
      /#\s*include\s*[<"]((?:napi|node_api|js_native_api|uv|v8|node)\b[^>"]*)/g,
      code,
      ([, name]) => `includes ${name}: only native/addon may`,
    );
  }
  if (!path.startsWith('cuda/') && !path.endsWith('_cuda.cu') && !path.endsWith('.cuh')) {
    find(
      /#\s*include\s*[<"]((?:cuda|cublas|cub\/|thrust\/|nccl|nvrtc|mma\.h|cooperative_groups)[^>"]*)/g,
      code,
      ([, name]) => `includes ${name}: only native/cuda, *_cuda.cu and *.cuh may`,
    );
  }
  const calls = withoutComments(text, false, true);
  find(
    /(?<![\w.>:]|\b(?:void|Value)\s+)(?:std::|::)?(abort|assert|_?exit|quick_exit|terminate)\s*\(/g,
    calls,
    ([, name]) => `calls ${name}(): native code returns a Status, it never ends the process`,
  );
}

function checkFamilies() {
  const kernels = join(root, 'native', 'kernels');
  for (const entry of existsSync(kernels) ? readdirSync(kernels, { withFileTypes: true }) : []) {
    const folder = join(kernels, entry.name);
    if (entry.name === 'README.md') continue;
    if (!entry.isDirectory()) {
      if (entry.name === 'README.md') continue;
      breach(folder, 0, 'a kernel lives in the folder of its family');
      continue;
    }
    const declaration = join(folder, `${entry.name}.ops.json`);
    if (!existsSync(declaration)) {
      breach(folder, 0, `family without ${entry.name}.ops.json`);
      continue;
    }
    const { ops } = JSON.parse(textOf(declaration));
    const onCpu = ops.some((op) => (op.backends ?? ['cpu']).includes('cpu'));
    const wanted = [`test/kernels/${entry.name}.reference.ts`, `test/kernels/${entry.name}.test.ts`];
    if (onCpu) wanted.push(`native/kernels/${entry.name}/${entry.name}_cpu.cc`);
    for (const file of wanted) if (!existsSync(join(root, file))) breach(join(root, file), 0, `missing: family ${entry.name} needs it`);
  }
}

// ---- what is public, what is generated ----

function checkPublicNames() {
  const entry = join(root, 'lib', 'index.ts');
  if (!existsSync(entry)) return breach(entry, 0, 'missing');
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config, ts.sys, root);
  const program = ts.createProgram([entry], options);
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry));
  for (const name of module ? checker.getExportsOfModule(module) : []) {
    const symbol = name.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(name) : name;
    // `export * as name` is documented where it stands.
    const exported = name.declarations?.[0];
    if (exported && ts.isNamespaceExport(exported) && ts.getJSDocCommentsAndTags(exported.parent).length) continue;
    if (symbol.getDocumentationComment(checker).length) continue;
    const declaration = symbol.declarations?.[0];
    const file = declaration?.getSourceFile();
    const line = file ? file.getLineAndCharacterOfPosition(declaration.getStart()).line + 1 : 0;
    breach(file?.fileName ?? entry, line, `${name.name} is public but has no doc comment`);
  }
}

function checkGenerated() {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'tools', 'generate_ops.mjs'), '--check'], { encoding: 'utf8' });
  if (status !== 0) breaches.push(stderr.trim());
}

let count = 0;
for (const folder of folders) {
  for (const file of walk(join(root, folder))) {
    if (!sourceKinds.includes(extname(file)) || file.split(sep).includes('generated')) continue;
    count++;
    const text = textOf(file);
    checkLength(file, text);
    if (folder === 'lib') checkImports(file, text);
    if (folder === 'native') checkNative(file, text);
  }
}
checkCrossings();
checkFamilies();
checkPublicNames();
checkGenerated();

if (breaches.length) {
  console.error(breaches.join('\n'));
  console.error(`layout: ${breaches.length} breaches in ${count} files`);
  process.exit(1);
}
console.log(`layout: ${count} files hold the rules`);
