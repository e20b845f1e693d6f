// Evaluates graphs in float64 by the definitions of their ops: what gradients are checked against.
import type { OpCall, Tensor } from '../../lib/graph/tensor.js';
import { dtypeBytes, viewAs } from '../../lib/runtime/dtype.js';
import { countElements, sizeOf } from '../../lib/runtime/shape.js';
import type { Operand } from '../kernels/check_op.ts';
import { exactly, fromBits } from '../kernels/numbers.ts';
import { references } from '../kernels/references.ts';

type Extents = Readonly<Record<string, number>>;

/** Values of inputs by name; a name of a weight, parameter or state replaces what its memory holds. */
export type Float64Inputs = Readonly<Record<string, ArrayLike<number>>>;

/** The part of a graph that some tensors need, ready to be evaluated many times. */
export class Float64Graph {
  private readonly order: Tensor[];
  private readonly bound = new Map<Tensor, Float64Array>();

  private constructor(private readonly outputs: readonly Tensor[]) {
    this.order = needed(outputs);
  }

  /** Reads the weights, parameters and states that `outputs` depend on as they are now. */
  static async of(outputs: readonly Tensor[]): Promise<Float64Graph> {
    const made = new Float64Graph(outputs);
    for (const tensor of made.order) {
      if (tensor.source.kind !== 'weight' && tensor.source.kind !== 'parameter' && tensor.source.kind !== 'state') continue;
      const { dtype, buffer, offset, dims } = tensor.source.tensor;
      const bytes = await buffer.read(offset, dims.reduce((n, d) => n * d, 1) * dtypeBytes[dtype]);
      made.bound.set(tensor, fromBits(dtype, viewAs(dtype, bytes)));
    }
    return made;
  }

  /** Names of the graph's inputs that the outputs depend on. */
  get inputs(): ReadonlySet<string> {
    return new Set(this.order.flatMap(({ source }) => (source.kind === 'input' ? [source.name] : [])));
  }

  /** Values of the outputs, in their order. No intermediate result is rounded. */
  run(inputs: Float64Inputs, extents: Extents = {}): Float64Array[] {
    const values = new Map<Tensor, Float64Array>();
    const done = new Set<OpCall>();
    exactly(() => {
      for (const tensor of this.order) {
        const { source } = tensor;
        if (source.kind === 'op') {
          if (!done.has(source.call)) callOf(source.call, values, extents);
          done.add(source.call);
        } else if (source.kind === 'view') {
          values.set(tensor, viewOf(tensor, source.base, source.firstColumn, values, extents));
        } else {
          const given = inputs[source.name] ?? this.bound.get(tensor);
          if (given === undefined) throw new Error(`the input '${source.name}' has no value`);
          const count = countElements(tensor.shape, extents);
          if (given.length !== count) throw new Error(`'${source.name}' has ${given.length} elements: expected ${count}`);
          values.set(tensor, Float64Array.from(given));
        }
      }
    });
    return this.outputs.map((tensor) => values.get(tensor) as Float64Array);
  }
}

/** The same for one evaluation, by name. */
export async function evaluateFloat64<Names extends string>(
  outputs: Readonly<Record<Names, Tensor>>,
  inputs: Float64Inputs,
  extents: Extents = {},
): Promise<Record<Names, Float64Array>> {
  const names = Object.keys(outputs) as Names[];
  const evaluated = (await Float64Graph.of(names.map((name) => outputs[name]))).run(inputs, extents);
  return Object.fromEntries(names.map((name, i) => [name, evaluated[i]])) as Record<Names, Float64Array>;
}

function needed(outputs: readonly Tensor[]): Tensor[] {
  const seen = new Set<Tensor>();
  const pending = [...outputs];
  for (let tensor = pending.pop(); tensor !== undefined; tensor = pending.pop()) {
    if (seen.has(tensor)) continue;
    seen.add(tensor);
    if (tensor.source.kind === 'view') pending.push(tensor.source.base);
    if (tensor.source.kind === 'op')
      for (const input of Object.values(tensor.source.call.inputs)) if (input !== undefined) pending.push(input);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

function callOf(call: OpCall, values: Map<Tensor, Float64Array>, extents: Extents): void {
  const reference = references[call.op];
  if (reference === undefined) throw new Error(`[${call.op}] has no float64 definition in test/kernels/references.ts`);
  const dims = (tensor: Tensor): number[] => tensor.shape.map((dimension) => sizeOf(dimension, extents));
  const operand = (tensor: Tensor): Operand => ({ dtype: tensor.dtype, dims: dims(tensor), values: values.get(tensor) as Float64Array });
  const inputs = Object.fromEntries(Object.entries(call.inputs).map(([name, tensor]) => [name, tensor && operand(tensor)]));
  const outputs = Object.fromEntries(Object.entries(call.outputs).map(([name, tensor]) => [name, dims(tensor)]));
  const results = reference(inputs, call.attrs, outputs);
  for (const [name, tensor] of Object.entries(call.outputs)) {
    const result = results[name];
    const count = countElements(tensor.shape, extents);
    if (result?.length !== count)
      throw new Error(`[${call.op}] the definition gives ${result?.length} elements of ${name}: expected ${count}`);
    values.set(tensor, Float64Array.from(result));
  }
}

function viewOf(view: Tensor, base: Tensor, firstColumn: number, values: Map<Tensor, Float64Array>, extents: Extents): Float64Array {
  const from = values.get(base) as Float64Array;
  const count = countElements(view.shape, extents);
  if (count === from.length) return from;
  const width = view.shape[1] as number;
  const wide = base.shape[1] as number;
  return Float64Array.from({ length: count }, (_, i) => from[Math.floor(i / width) * wide + firstColumn + (i % width)] as number);
}
