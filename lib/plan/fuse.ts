import type { Slices } from '../runtime/slices.js';
import { type LogicalProgram, type Place, type PlanNode, place, resultsInPlace, type Value } from './ir.js';

/** Replaces what one kernel can do in one pass, without a change of any bit. */
export function* fuse(program: LogicalProgram): Slices<void> {
  const uses = yield* Uses.of(program);
  const gone = new Set<PlanNode>();
  for (const node of program.nodes) {
    const absorbed = node.op === 'rms_norm' ? normOfSum(node, uses) : node.op === 'kv_write' ? rotatedKeys(node, uses) : gated(node, uses);
    if (absorbed !== undefined) gone.add(absorbed);
    yield;
  }
  program.nodes = program.nodes.filter((node) => !gone.has(node));
}

/** A residual addition and the normalisation of its sum. */
function normOfSum(node: PlanNode, uses: Uses): PlanNode | undefined {
  const sum = node.inputs[0] as Value;
  const add = uses.producer(sum);
  if (add?.op !== 'add') return undefined;
  // Only a frozen weight is sure to be there, as it will be, when the addition runs.
  const weight = node.inputs[1];
  if (weight !== undefined && place(weight).owner.frozen !== true) return undefined;
  add.op = 'add_rms_norm';
  add.inputs = [...add.inputs, weight];
  add.outputs = [sum, node.outputs[0] as Value];
  add.attrs = node.attrs;
  return node;
}

/** Keys that are rotated only to be stored. */
function rotatedKeys(write: PlanNode, uses: Uses): PlanNode | undefined {
  const [keys, values, pool, blockTable, positions, request, given] = write.inputs as Value[];
  const rope = uses.producer(keys as Value);
  if (given !== undefined || rope?.op !== 'rope' || rope.attrs.inverse === true || !uses.onlyFor(keys as Value, write)) return undefined;
  if (place(values as Value).owner === keys) return undefined;
  const [x, table] = rope.inputs as [Value, Value];
  if (!uses.staysAsItIs(x) || !uses.staysAsItIs(table)) return undefined;
  write.inputs = [x, values, pool, blockTable, positions, request, table];
  write.attrs = { ...write.attrs, interleaved: rope.attrs.interleaved as boolean };
  return rope;
}

/** An activation whose result is only a factor. */
function gated(mul: PlanNode, uses: Uses): PlanNode | undefined {
  if (mul.op !== 'mul') return undefined;
  const [left, right] = mul.inputs as [Value, Value];
  if (left === right) return undefined;
  for (const [active, up] of [
    [left, right],
    [right, left],
  ] as const) {
    const activate = uses.producer(active);
    const x = activate?.inputs[0];
    if (activate?.op !== 'activate' || x === undefined || x.shape.length !== 2) continue;
    if (!uses.onlyFor(active, mul) || place(up).owner === active || !uses.staysAsItIs(x)) continue;
    mul.op = 'gate';
    mul.inputs = [x, up];
    mul.attrs = activate.attrs;
    return activate;
  }
  return undefined;
}

/** Who makes and who reads each value. */
class Uses {
  private readonly producers = new Map<Value, PlanNode>();
  private readonly readers = new Map<Value, Set<PlanNode | undefined>>();

  static *of(program: LogicalProgram): Slices<Uses> {
    const uses = new Uses();
    for (const node of program.nodes) {
      for (const output of node.outputs) uses.producers.set(output, node);
      for (const input of node.inputs) if (input !== undefined) uses.read(input, node);
      yield;
    }
    for (const { value } of program.outputs) uses.read(value, undefined);
    return uses;
  }

  producer(value: Value): PlanNode | undefined {
    return this.producers.get(value);
  }

  /** Whether `value` is read by `node` alone, and is no result of the program. Views count as what they look at. */
  onlyFor(value: Value, node: PlanNode): boolean {
    const readers = this.readers.get(value);
    return readers?.size === 1 && readers.has(node) && !value.pinned;
  }

  /** Whether a later node may read it as well: state, and what an op left in it, can change in between. */
  staysAsItIs(value: Value): boolean {
    for (let seen: Value | undefined = value; seen !== undefined; ) {
      const { owner }: Place = place(seen);
      if (owner.bound !== undefined) return owner.frozen === true;
      const producer = this.producer(owner);
      const under = producer && resultsInPlace(producer).find(({ result }) => result === owner);
      seen = under && producer.inputs[under.input];
    }
    return true;
  }

  private read(value: Value, node: PlanNode | undefined): void {
    for (let seen: Value | undefined = value; seen !== undefined; seen = seen.viewOf) {
      const readers = this.readers.get(seen);
      if (readers === undefined) this.readers.set(seen, new Set([node]));
      else readers.add(node);
    }
  }
}
