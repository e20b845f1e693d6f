import type { LogicalProgram, PlanNode, Value } from './ir.js';

/** Replaces what one kernel can do in one pass: a residual addition and the normalisation of its sum. */
export function fuse(program: LogicalProgram): void {
  const producer = new Map<Value, PlanNode>();
  for (const node of program.nodes) for (const output of node.outputs) producer.set(output, node);
  const gone = new Set<PlanNode>();
  for (const node of program.nodes) {
    if (node.op !== 'rms_norm') continue;
    const sum = node.inputs[0] as Value;
    const add = producer.get(sum);
    if (add?.op !== 'add') continue;
    // The weight is frozen, so it is there when the addition runs.
    const weight = node.inputs[1];
    if (weight !== undefined && weight.bound === undefined) continue;
    add.op = 'add_rms_norm';
    add.inputs = [...add.inputs, weight];
    add.outputs = [sum, node.outputs[0] as Value];
    add.attrs = node.attrs;
    gone.add(node);
  }
  program.nodes = program.nodes.filter((node) => !gone.has(node));
}
