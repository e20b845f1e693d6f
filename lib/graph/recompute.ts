import type { Graph } from './graph.js';
import type { OpCall, Tensor } from './tensor.js';

/** Trades memory for time: which forward results a gradient graph computes a second time. */
export interface RecomputePolicy {
  /** Group of segments that is computed again together when its gradients are built; undefined: results are kept. */
  group(segment: number): number | undefined;
  /** Calls inside a group whose results are kept all the same, because they cost much and are small. */
  keep?(call: OpCall): boolean;
}

/**
 * Forward results as gradient rules see them: kept, or computed again for the group of calls whose gradients are being built.
 * Only what a rule asks for is computed again, once for a group.
 */
export class Recomputation {
  private group: number | undefined;
  private again = new Map<Tensor, Tensor>();
  private copies = new Map<OpCall, Readonly<Record<string, Tensor>>>();

  constructor(
    private readonly graph: Graph,
    private readonly policy: RecomputePolicy | undefined,
  ) {}

  /** Gradients of `call` come next: copies that were made for other groups are forgotten. */
  enter(call: OpCall): void {
    const group = this.groupOf(call);
    if (group === undefined || group === this.group) return;
    this.group = group;
    this.again = new Map();
    this.copies = new Map();
  }

  /** The inputs and outputs of a call, made when they are read. */
  view(call: OpCall): { inputs: Readonly<Record<string, Tensor | undefined>>; outputs: Readonly<Record<string, Tensor>> } {
    if (this.policy === undefined) return { inputs: call.inputs, outputs: call.outputs };
    const lazily = <T extends Tensor | undefined>(tensors: Readonly<Record<string, T>>): Readonly<Record<string, T>> => {
      const made = {};
      for (const [name, tensor] of Object.entries<T>(tensors))
        Object.defineProperty(made, name, { enumerable: true, get: () => tensor && this.resolve(tensor) });
      return made;
    };
    return { inputs: lazily(call.inputs), outputs: lazily(call.outputs) };
  }

  private groupOf(call: OpCall): number | undefined {
    return call.segment === undefined ? undefined : this.policy?.group(call.segment);
  }

  // Depth is bounded by the calls of one group.
  private resolve(tensor: Tensor): Tensor {
    const known = this.again.get(tensor);
    if (known !== undefined) return known;
    const made = this.make(tensor);
    this.again.set(tensor, made);
    return made;
  }

  private make(tensor: Tensor): Tensor {
    const { source } = tensor;
    if (source.kind === 'view') {
      const base = this.resolve(source.base);
      return base === source.base ? tensor : tensor.viewOf(base);
    }
    if (source.kind !== 'op' || this.group === undefined || this.groupOf(source.call) !== this.group) return tensor;
    if (this.policy?.keep?.(source.call)) return tensor;
    return this.copy(source.call)[source.output] as Tensor;
  }

  private copy(call: OpCall): Readonly<Record<string, Tensor>> {
    let outputs = this.copies.get(call);
    if (outputs === undefined) {
      const inputs = Object.fromEntries(Object.entries(call.inputs).map(([name, input]) => [name, input && this.resolve(input)]));
      outputs = this.graph.call(call.op, inputs, call.attrs, call.outputs);
      this.copies.set(call, outputs);
    }
    return outputs;
  }
}
