import { InternalError } from '../errors.js';
import { sameShape } from '../runtime/shape.js';
import type { Slices } from '../runtime/slices.js';
import { type LogicalProgram, newValue, overlap, type PlanNode, place, resultsInPlace, type Value } from './ir.js';

/**
 * Lets the result of an op that works in place lie over its operand. Where somebody still needs the operand as it was
 * (a later reader, the program's caller, a frozen weight) the op works on a copy instead.
 */
export function* placeInPlace(program: LogicalProgram): Slices<void> {
  const reads = yield* Reads.of(program);
  const nodes: PlanNode[] = [];
  for (const [i, node] of program.nodes.entries()) {
    for (const { result, input } of resultsInPlace(node)) {
      const operand = node.inputs[input];
      if (operand === undefined || result === undefined) throw new InternalError(`[${node.op}] an operand of work in place is missing`);
      const { owner } = place(operand);
      let under = operand;
      const state = owner.bound !== undefined && owner.frozen !== true;
      if (!state && (owner.frozen === true || owner.pinned || reads.after(i, operand, owner))) {
        under = newValue(operand.dtype, operand.shape);
        nodes.push({ op: 'copy', inputs: [operand], outputs: [under], attrs: {} });
        node.inputs[input] = under;
      }
      result.viewOf = wholeOwner(under);
      reads.merge(result, place(under).owner);
    }
    nodes.push(node);
    yield;
  }
  program.nodes = nodes;
}

// What is changed layer after layer would be a view of a view of a view: where views are of the same whole, the last one is enough.
function wholeOwner(value: Value): Value {
  const under = value.viewOf;
  const same = under !== undefined && value.firstColumn === 0 && under.dtype === value.dtype && sameShape(value.shape, under.shape);
  return same ? wholeOwner(under) : value;
}

/** When each value is read for the last time, by the owner of its memory. */
class Reads {
  private readonly last = new Map<Value, number>();
  private readonly byOwner = new Map<Value, Value[]>();

  static *of(program: LogicalProgram): Slices<Reads> {
    const reads = new Reads();
    program.nodes.forEach((node, i) => {
      for (const input of node.inputs) if (input !== undefined) reads.last.set(input, i);
    });
    for (const value of reads.last.keys()) {
      reads.of(place(value).owner).push(value);
      yield;
    }
    return reads;
  }

  /** Whether a node after number `i` reads what `operand` holds now. */
  after(i: number, operand: Value, owner: Value): boolean {
    return this.of(owner).some((value) => (this.last.get(value) as number) > i && (value === operand || overlap(value, operand)));
  }

  /** `result` and its views now lie in the memory of `owner`. */
  merge(result: Value, owner: Value): void {
    const moved = this.byOwner.get(result);
    // Frozen weights and state are never copied, so nobody asks who reads them.
    if (moved === undefined || owner.bound !== undefined) return;
    this.byOwner.delete(result);
    this.of(owner).push(...moved);
  }

  private of(owner: Value): Value[] {
    let list = this.byOwner.get(owner);
    if (list === undefined) {
      list = [];
      this.byOwner.set(owner, list);
    }
    return list;
  }
}
