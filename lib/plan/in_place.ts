import { InternalError } from '../errors.js';
import { opTable } from '../generated/op_table.js';
import { type LogicalProgram, newValue, overlap, type PlanNode, place, type Value } from './ir.js';

/**
 * Lets the result of an op that works in place lie over its operand. Where somebody still needs the operand as it was
 * (a later reader, the program's caller, a frozen weight) the op works on a copy instead.
 */
export function placeInPlace(program: LogicalProgram): void {
  const lastRead = new Map<Value, number>();
  program.nodes.forEach((node, i) => {
    for (const input of node.inputs) if (input !== undefined) lastRead.set(input, i);
  });
  const read = [...lastRead];
  const nodes: PlanNode[] = [];
  program.nodes.forEach((node, i) => {
    const { inputs, outputs, alias } = opTable[node.op] as { inputs: readonly string[]; outputs: readonly string[]; alias: Readonly<Record<string, string>> };
    for (const [outputName, inputName] of Object.entries(alias)) {
      const index = inputs.indexOf(inputName);
      const operand = node.inputs[index];
      const result = node.outputs[outputs.indexOf(outputName)];
      if (operand === undefined || result === undefined) throw new InternalError(`[${node.op}] in-place operand ${inputName} is missing`);
      const { owner } = place(operand);
      const state = owner.bound !== undefined;
      const needed = !state && (owner.pinned || read.some(([value, last]) => last > i && value !== operand && overlap(value, operand)) || (lastRead.get(operand) as number) > i);
      if (needed) {
        const copied = newValue(operand.dtype, operand.shape);
        nodes.push({ op: 'copy', inputs: [operand], outputs: [copied], attrs: {} });
        node.inputs[index] = copied;
        result.viewOf = copied;
      } else {
        result.viewOf = operand;
      }
    }
    nodes.push(node);
  });
  program.nodes = nodes;
}
