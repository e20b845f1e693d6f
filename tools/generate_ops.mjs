// Writes the op tables of both languages from native/kernels/<family>/<family>.ops.json.
//   node tools/generate_ops.mjs           writes
//   node tools/generate_ops.mjs --check   exits 1 when a generated file is stale
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'native', 'kernels');
const note = 'Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.';

const pascal = (name) => name.replace(/(^|_)([a-z0-9])/g, (_, __, c) => c.toUpperCase());
const camel = (name) => name.replace(/_([a-z0-9])/g, (_, c) => c.toUpperCase());

function readFamilies() {
  const families = readdirSync(folder, { withFileTypes: true })
    .filter((e) => e.isDirectory() && existsSync(join(folder, e.name, `${e.name}.ops.json`)))
    .map((e) => ({ name: e.name, ...JSON.parse(readFileSync(join(folder, e.name, `${e.name}.ops.json`), 'utf8')) }));
  return families.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readOps(families) {
  const operand = (text) => ({ name: text.replace('?', ''), optional: text.endsWith('?') });
  const ops = families.flatMap((family) =>
    family.ops.map((op) => ({
      ...op,
      family: family.name,
      inputs: op.inputs.map(operand),
      outputs: op.outputs.map(operand),
      attrs: Object.entries(op.attrs ?? {}).map(([name, type]) => ({ name, type, enum: Array.isArray(type) })),
      alias: op.alias ?? {},
      backends: op.backends ?? family.backends ?? ['cpu'],
    })),
  );
  ops.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (let i = 1; i < ops.length; i++) if (ops[i].name === ops[i - 1].name) throw new Error(`op ${ops[i].name} is declared twice`);
  return ops;
}

const attrCpp = (op, a) =>
  a.enum ? `${pascal(op.name)}${pascal(a.name)}` : { f32: 'float', i32: 'int32_t', i64: 'int64_t', bool: 'bool' }[a.type];
const attrRead = (op, a, i) =>
  a.enum || a.type !== 'f32'
    ? a.type === 'bool'
      ? `attrs[${i}].integer != 0`
      : `static_cast<${attrCpp(op, a)}>(attrs[${i}].integer)`
    : `static_cast<float>(attrs[${i}].real)`;

const familyHeaderName = (family) => `native/generated/${family}_ops.h`;

// One header per family: a new op compiles the kernels of its own family anew, not all of them.
function familyHeader(ops) {
  const lines = [
    `// ${note}`,
    '#pragma once',
    '#include <cstddef>',
    '#include <cstdint>',
    '',
    '#include "core/status.h"',
    '#include "core/tensor_view.h"',
    '',
    '#pragma GCC visibility push(hidden)',
    'namespace heddle {',
    '',
    'struct CpuContext;',
    'struct CudaContext;',
    'struct DeviceLimits;',
    '',
  ];
  for (const op of ops) {
    for (const a of op.attrs.filter((a) => a.enum))
      lines.push(`enum class ${attrCpp(op, a)} : int32_t { ${a.type.map((v) => `k${pascal(v)}`).join(', ')} };`, '');
    lines.push(`// ${op.doc}`, `struct ${pascal(op.name)}Args {`);
    for (const t of op.inputs) lines.push(`  TensorView ${t.name};${t.optional ? '  // optional' : ''}`);
    for (const t of op.outputs)
      lines.push(`  TensorView ${t.name};  // output${op.alias[t.name] ? `, in place over ${op.alias[t.name]}` : ''}`);
    for (const a of op.attrs) lines.push(`  ${attrCpp(op, a)} ${a.name};`);
    lines.push('};');
    if (op.backends.includes('cpu')) {
      lines.push(`Status ${op.name}_cpu(const ${pascal(op.name)}Args& args, CpuContext& context);`);
      if (op.workspace) lines.push(`size_t ${op.name}_cpu_workspace(const ${pascal(op.name)}Args& args, int threads);`);
    }
    if (op.backends.includes('cuda')) {
      lines.push(`Status ${op.name}_cuda(const ${pascal(op.name)}Args& args, CudaContext& context);`);
      if (op.cuda_workspace)
        lines.push(`size_t ${op.name}_cuda_workspace(const ${pascal(op.name)}Args& args, const DeviceLimits& limits);`);
    }
    lines.push('');
  }
  lines.push('}  // namespace heddle', '#pragma GCC visibility pop', '');
  return lines.join('\n');
}

function tableHeader(ops, families) {
  return [
    `// ${note}`,
    '#pragma once',
    '#include <cstdint>',
    '',
    ...families.map((family) => `#include "generated/${family}_ops.h"`),
    '',
    'namespace heddle {',
    '',
    'enum class Op : uint16_t {',
    ...ops.map((op) => `  k${pascal(op.name)},`),
    '  kCount',
    '};',
    '',
    '}  // namespace heddle',
    '',
  ].join('\n');
}

// `read_<op>`: a struct of arguments from operands and attributes.
function argumentReader(op) {
  const fields = [...[...op.inputs, ...op.outputs].map((_, i) => `operands[${i}]`), ...op.attrs.map((a, i) => attrRead(op, a, i))];
  const unused = op.attrs.length ? '' : '[[maybe_unused]] ';
  return [
    `${pascal(op.name)}Args read_${op.name}(const TensorView* operands, ${unused}const AttributeValue* attrs) {`,
    `  return {${fields.join(', ')}};`,
    '}',
    '',
  ];
}

// The functions of one backend, called with operands and attributes as the executor holds them.
function adapters(op, backend, workspace, context, limits) {
  const lines = [
    `Status run_${op.name}(const TensorView* operands, const AttributeValue* attrs, ${context}) {`,
    `  return ${op.name}_${backend}(read_${op.name}(operands, attrs), context);`,
    '}',
    '',
  ];
  if (workspace)
    lines.push(
      `size_t workspace_${op.name}(const TensorView* operands, const AttributeValue* attrs, ${limits}) {`,
      `  return ${op.name}_${backend}_workspace(read_${op.name}(operands, attrs), ${limits.split(' ').at(-1)});`,
      '}',
      '',
    );
  return lines;
}

const tableStart = (includes) => [
  `// ${note}`,
  ...includes.map((file) => `#include "${file}"`),
  '',
  'namespace heddle {',
  'namespace {',
  '',
];

function cpuTable(ops, hash) {
  const lines = tableStart(['executor/op_info.h', 'generated/op_table.h']);
  for (const op of ops) {
    if (!op.backends.includes('cpu')) continue;
    lines.push(...argumentReader(op), ...adapters(op, 'cpu', op.workspace, 'CpuContext& context', 'int threads'));
  }
  lines.push('constexpr OpInfo kTable[] = {');
  for (const op of ops) {
    const optional = op.inputs.reduce((mask, t, i) => mask | (t.optional ? 1 << i : 0), 0);
    const cpu = op.backends.includes('cpu');
    const alias = op.outputs.reduce((mask, t, i) => mask | (op.alias[t.name] ? 1 << i : 0), 0);
    lines.push(
      `    {"${op.name}", ${op.inputs.length}, ${op.outputs.length}, ${op.attrs.length}, ${optional}u, ${alias}u, ${cpu ? `run_${op.name}` : 'nullptr'}, ${cpu && op.workspace ? `workspace_${op.name}` : 'nullptr'}},`,
    );
  }
  lines.push(
    '};',
    '',
    '}  // namespace',
    '',
    'const OpInfo& op_info(Op op) { return kTable[static_cast<int>(op)]; }',
    `const char* op_table_hash() { return "${hash}"; }`,
    '',
    '}  // namespace heddle',
    '',
  );
  return lines.join('\n');
}

function cudaTable(ops, hash) {
  const lines = tableStart(['cuda/cuda_op_info.h', 'generated/op_table.h']);
  for (const op of ops) {
    if (!op.backends.includes('cuda')) continue;
    lines.push(...argumentReader(op), ...adapters(op, 'cuda', op.cuda_workspace, 'CudaContext& context', 'const DeviceLimits& limits'));
  }
  lines.push('constexpr CudaOpInfo kTable[] = {');
  for (const op of ops) {
    const cuda = op.backends.includes('cuda');
    lines.push(
      `    {"${op.name}", ${cuda ? `run_${op.name}` : 'nullptr'}, ${cuda && op.cuda_workspace ? `workspace_${op.name}` : 'nullptr'}},`,
    );
  }
  lines.push(
    '};',
    '',
    '}  // namespace',
    '',
    'const CudaOpInfo& cuda_op_info(Op op) { return kTable[static_cast<int>(op)]; }',
    `const char* cuda_op_table_hash() { return "${hash}"; }`,
    '',
    '}  // namespace heddle',
    '',
  );
  return lines.join('\n');
}

function typescriptTable(ops, hash) {
  const lines = [
    `// ${note}`,
    '',
    `export const opTableHash = '${hash}';`,
    '',
    '/** Every op: operands in order, attributes in order, and which output lies in place over which input. */',
    'export const opTable = {',
  ];
  for (const op of ops) {
    const list = (items) => `[${items.map((t) => `'${camel(t.name)}'`).join(', ')}]`;
    const attrs = op.attrs.map((a) => `${camel(a.name)}: ${a.enum ? `[${a.type.map((v) => `'${v}'`).join(', ')}]` : `'${a.type}'`}`);
    const alias = Object.entries(op.alias).map(([k, v]) => `${camel(k)}: '${camel(v)}'`);
    lines.push(
      `  /** ${op.doc} */`,
      `  ${op.name}: {`,
      `    id: ${ops.indexOf(op)},`,
      `    family: '${op.family}',`,
      `    inputs: ${list(op.inputs)},`,
      `    optional: ${list(op.inputs.filter((t) => t.optional))},`,
      `    outputs: ${list(op.outputs)},`,
      `    attrs: { ${attrs.join(', ')} },`.replace('{  }', '{}'),
      `    alias: { ${alias.join(', ')} },`.replace('{  }', '{}'),
      `    backends: [${op.backends.map((b) => `'${b}'`).join(', ')}],`,
      '  },',
    );
  }
  lines.push('} as const;', '', 'export type OpName = keyof typeof opTable;', '');
  return lines.join('\n');
}

const families = readFamilies();
const ops = readOps(families);
const hash = createHash('sha256').update(JSON.stringify(ops)).digest('hex').slice(0, 16);
const files = {
  'native/generated/op_table.h': tableHeader(
    ops,
    families.map((family) => family.name),
  ),
  'native/generated/op_table_cpu.cc': cpuTable(ops, hash),
  'native/generated/op_table_cuda.cc': cudaTable(ops, hash),
  'lib/generated/op_table.ts': typescriptTable(ops, hash),
};
for (const { name } of families) files[familyHeaderName(name)] = familyHeader(ops.filter((op) => op.family === name));
const stale = [];
for (const [file, text] of Object.entries(files)) {
  const path = join(root, file);
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  stale.push(file);
  if (process.argv.includes('--check')) continue;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
if (process.argv.includes('--check') && stale.length) {
  console.error(`stale generated files: ${stale.join(', ')}. Run: npm run generate`);
  process.exit(1);
}
