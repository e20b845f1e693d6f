import { OptionError, ShapeError } from '../errors.js';
import type { OpName } from '../generated/op_table.js';
import { formatShape, isColumns, sameShape } from '../runtime/shape.js';
import type { Graph } from './graph.js';
import { Recomputation, type RecomputePolicy } from './recompute.js';
import type { OpCall, Tensor } from './tensor.js';

/** A gradient with respect to an input of a call, or a function that adds it to the sum of all others. */
type Contribution = Tensor | ((sum: Tensor) => Tensor);

/** The gradient rule of an op as the walk sees it; lib/ops/op_rule.ts has the typed form. */
export interface UntypedRule {
  gradient?(call: {
    inputs: Readonly<Record<string, Tensor | undefined>>;
    outputs: Readonly<Record<string, Tensor>>;
    attrs: OpCall['attrs'];
    upstream: Readonly<Record<string, Tensor>>;
    has(output: string): boolean;
    wants(input: string): boolean;
    differentiable: boolean;
  }): Readonly<Record<string, Contribution | undefined>>;
}

/** The few ops that the walk itself needs; lib/ops gives them, as graph/ knows no op. */
export interface GradientOps {
  rule(op: OpName): UntypedRule;
  add(a: Tensor, b: Tensor): Tensor;
  zerosLike(x: Tensor): Tensor;
  concatColumns(parts: readonly Tensor[]): Tensor;
  accumulate(target: Tensor, x: Tensor): Tensor;
}

/** How a gradient graph is built. */
export interface GradientOptions {
  /** Gradient of the quantity of interest with respect to `loss`, in its shape. Default: ones, which needs a loss of one element. */
  readonly upstream?: Tensor;
  /** State that the gradient with respect to a parameter is added to; the result is that state afterwards. */
  readonly into?: ReadonlyMap<Tensor, Tensor>;
  /** Use only ops that have gradients themselves, so that the result can be differentiated again. */
  readonly differentiable?: boolean;
  /** Which forward results are computed again rather than kept. Default: none. */
  readonly recompute?: RecomputePolicy;
}

/** What has arrived for one tensor so far. State that it goes into changes at once: nothing waits in memory for the end of the walk. */
class Sum {
  private total: Tensor | undefined;
  private readonly adders: ((sum: Tensor) => Tensor)[] = [];
  private readonly slices: { first: number; width: number; tensor: Tensor }[] = [];

  constructor(
    private readonly of: Tensor,
    private readonly ops: GradientOps,
    private into: Tensor | undefined,
  ) {}

  add(contribution: Contribution): void {
    if (this.into !== undefined)
      this.into = typeof contribution === 'function' ? contribution(this.into) : this.ops.accumulate(this.into, contribution);
    else if (typeof contribution === 'function') this.adders.push(contribution);
    else this.total = this.total === undefined ? contribution : this.ops.add(this.total, contribution);
  }

  /** A gradient of some of the columns. */
  addColumns(first: number, tensor: Tensor): void {
    const width = tensor.shape[1] as number;
    const same = this.slices.find((slice) => slice.first === first && slice.width === width);
    if (same === undefined) this.slices.push({ first, width, tensor });
    else same.tensor = this.ops.add(same.tensor, tensor);
  }

  /** Everything added up. */
  finish(): Tensor {
    this.joinSlices();
    let sum = this.into ?? this.total ?? this.ops.zerosLike(this.of);
    for (const add of this.adders) sum = add(sum);
    return sum;
  }

  // Slices that follow each other become one tensor; gaps are zeros.
  private joinSlices(): void {
    let rest = this.slices.sort((a, b) => a.first - b.first);
    const width = this.of.shape[1] as number;
    while (rest.length > 0) {
      const parts: Tensor[] = [];
      const later: typeof rest = [];
      let column = 0;
      const gap = (to: number): void => {
        if (to > column) parts.push(this.ops.zerosLike(this.of.columns(column, to)));
        column = Math.max(column, to);
      };
      for (const slice of rest) {
        if (slice.first < column) {
          later.push(slice);
          continue;
        }
        gap(slice.first);
        parts.push(slice.tensor);
        column = slice.first + slice.width;
      }
      gap(width);
      this.add(parts.length === 1 ? (parts[0] as Tensor) : this.ops.concatColumns(parts));
      rest = later;
    }
  }
}

/**
 * Builds the gradients of `loss` with respect to `parameters` as ordinary nodes of their graph, by walking it in reverse.
 * Only what lies between the two is visited: frozen weights never get a gradient. A parameter that the loss does not depend on gets
 * zeros. Throws OptionError for a frozen weight, for a loss of many elements without `upstream`, and for an op without a gradient;
 * ShapeError for a parameter of another graph.
 */
export function buildGradients(
  loss: Tensor,
  parameters: readonly Tensor[],
  ops: GradientOps,
  options: GradientOptions & { readonly upstream: Tensor },
): Tensor[] {
  for (const [i, parameter] of parameters.entries()) {
    if (parameter.graph !== loss.graph) throw new ShapeError(`gradient: parameters[${i}] belongs to another graph than loss`, { index: i });
    if (parameter.source.kind === 'weight')
      throw new OptionError(`'${parameter.source.name}' is a frozen weight and gets no gradient: make it a parameter of the graph`, {
        name: parameter.source.name,
      });
  }
  const { upstream } = options;
  if (!sameShape(upstream.shape, loss.shape))
    throw new ShapeError(`gradient: upstream is ${formatShape(upstream.shape)}: expected ${formatShape(loss.shape)}, the shape of loss`, {
      actual: upstream.shape,
      expected: loss.shape,
    });

  const wanted = new Set(parameters);
  const { calls, active } = dependents(loss, wanted);
  const sums = new Map<Tensor, Sum>();
  const sumOf = (tensor: Tensor): Sum => {
    let sum = sums.get(tensor);
    if (sum === undefined) {
      sum = new Sum(tensor, ops, options.into?.get(tensor));
      sums.set(tensor, sum);
    }
    return sum;
  };
  if (active.has(loss)) sumOf(loss).add(upstream);
  const recomputation = new Recomputation(loss.graph as Graph, options.recompute);
  const totals = new Map<Tensor, Tensor>();

  // Newest first: when a node's turn comes, everything that uses it has been seen.
  for (const step of calls) {
    if ('view' in step) {
      const { view } = step;
      const sum = sums.get(view);
      if (sum === undefined || view.source.kind !== 'view') continue;
      const gradient = sum.finish();
      if (wanted.has(view)) totals.set(view, gradient);
      const { base, firstColumn } = view.source;
      const sliced = isColumns(view.shape, base.shape);
      if (sliced) sumOf(base).addColumns(firstColumn, gradient);
      else sumOf(base).add(sameShape(view.shape, base.shape) ? gradient : gradient.reshape(base.shape));
      continue;
    }
    const { call } = step;
    const reached = Object.entries(call.outputs).filter(([, tensor]) => sums.has(tensor));
    if (reached.length === 0) continue;
    const arrived: Record<string, Tensor> = {};
    for (const [name, tensor] of reached) {
      arrived[name] = (sums.get(tensor) as Sum).finish();
      if (wanted.has(tensor)) totals.set(tensor, arrived[name] as Tensor);
    }
    const rule = ops.rule(call.op);
    if (rule.gradient === undefined)
      throw new OptionError(`[${call.op}] has no gradient: nothing that a loss depends on through it can be trained`, { op: call.op });
    recomputation.enter(call);
    const view = recomputation.view(call);
    const gradients = rule.gradient({
      ...view,
      attrs: call.attrs,
      upstream: lazyUpstream(call, arrived, view.outputs, ops),
      has: (output) => arrived[output] !== undefined,
      wants: (input) => call.inputs[input] !== undefined && active.has(call.inputs[input]),
      differentiable: options.differentiable ?? false,
    });
    for (const [name, contribution] of Object.entries(gradients)) {
      const input = call.inputs[name];
      if (input === undefined || contribution === undefined || !active.has(input)) continue;
      sumOf(input).add(contribution);
    }
  }
  return parameters.map((parameter) => totals.get(parameter) ?? sumOf(parameter).finish());
}

type Step = { call: OpCall; at: number } | { view: Tensor; at: number };

// Everything between the parameters and the loss, newest first, and which tensors depend on a parameter.
function dependents(loss: Tensor, wanted: ReadonlySet<Tensor>): { calls: Step[]; active: Set<Tensor> } {
  const seen = new Set<Tensor>();
  const visited: Tensor[] = [];
  const pending = [loss];
  for (let tensor = pending.pop(); tensor !== undefined; tensor = pending.pop()) {
    if (seen.has(tensor)) continue;
    seen.add(tensor);
    visited.push(tensor);
    if (tensor.source.kind === 'view' && tensor.source.detached !== true) pending.push(tensor.source.base);
    if (tensor.source.kind === 'op')
      for (const input of Object.values(tensor.source.call.inputs)) if (input !== undefined) pending.push(input);
  }
  const active = new Set<Tensor>();
  const steps = new Map<OpCall | Tensor, Step>();
  for (const tensor of visited.sort((a, b) => a.id - b.id)) {
    const { source } = tensor;
    const depends =
      (source.kind === 'view' && source.detached !== true && active.has(source.base)) ||
      (source.kind === 'op' && Object.values(source.call.inputs).some((input) => input !== undefined && active.has(input)));
    if (depends && source.kind === 'view') steps.set(tensor, { view: tensor, at: tensor.id });
    if (depends && source.kind === 'op') {
      const at = Math.max(tensor.id, steps.get(source.call)?.at ?? 0);
      steps.set(source.call, { call: source.call, at });
    }
    if (depends || wanted.has(tensor)) active.add(tensor);
  }
  return { calls: [...steps.values()].sort((a, b) => b.at - a.at), active };
}

// Zeros for outputs that nothing depends on are built only when a rule asks.
function lazyUpstream(
  call: OpCall,
  arrived: Readonly<Record<string, Tensor>>,
  outputs: Readonly<Record<string, Tensor>>,
  ops: GradientOps,
): Readonly<Record<string, Tensor>> {
  const upstream: Record<string, Tensor> = {};
  for (const name of Object.keys(call.outputs))
    Object.defineProperty(upstream, name, {
      enumerable: true,
      get: () => arrived[name] ?? ops.zerosLike(outputs[name] as Tensor),
    });
  return upstream;
}
