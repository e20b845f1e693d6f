import type { LogicalProgram, PlanNode, Value } from './ir.js';

/**
 * Replaces what one kernel can do in one pass: a residual addition and the normalisation of its sum; the rotation of keys and their way into
 * the cache. The numbers stay the same, bit for bit.
 */
export function fuse(program: LogicalProgram): void {
  const producer = new Map<Value, PlanNode>();
  for (const node of program.nodes) for (const output of node.outputs) producer.set(output, node);
  const gone = new Set<PlanNode>();
  for (const node of program.nodes) {
    if (node.op === 'rms_norm') joinNorm(node, producer, gone);
    else if (node.op === 'kv_write') joinRotation(node, producer, program, gone);
  }
  program.nodes = program.nodes.filter((node) => !gone.has(node));
}

function joinNorm(norm: PlanNode, producer: ReadonlyMap<Value, PlanNode>, gone: Set<PlanNode>): void {
  const sum = norm.inputs[0] as Value;
  const add = producer.get(sum);
  if (add?.op !== 'add') return;
  // The weight is frozen, so it is there when the addition runs.
  const weight = norm.inputs[1];
  if (weight !== undefined && weight.bound === undefined) return;
  add.op = 'add_rms_norm';
  add.inputs = [...add.inputs, weight];
  add.outputs = [sum, norm.outputs[0] as Value];
  add.attrs = norm.attrs;
  gone.add(norm);
}

const [keysInput, tableInput] = [0, 6];

function joinRotation(write: PlanNode, producer: ReadonlyMap<Value, PlanNode>, program: LogicalProgram, gone: Set<PlanNode>): void {
  const keys = write.inputs[keysInput] as Value;
  const rope = producer.get(keys);
  if (rope?.op !== 'rope' || rope.attrs.inverse === true || write.inputs[tableInput] !== undefined || keys.pinned) return;
  // Whoever else reads the rotated keys, as they are or through a view, needs them in memory.
  const isKeys = (value: Value | undefined): boolean => value !== undefined && (value === keys || isKeys(value.viewOf));
  const readers = program.nodes.flatMap((node) => (gone.has(node) ? [] : node.inputs.filter(isKeys)));
  if (readers.length > 1 || program.outputs.some(({ value }) => isKeys(value))) return;
  const [x, table] = rope.inputs;
  write.inputs = write.inputs.map((value, i) => (i === keysInput ? x : i === tableInput ? table : value));
  write.attrs = { ...write.attrs, interleaved: rope.attrs.interleaved as boolean };
  gone.add(rope);
}
