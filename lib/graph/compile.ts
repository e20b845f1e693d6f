import { OptionError, ShapeError } from '../errors.js';
import { opTable } from '../generated/op_table.js';
import { type LogicalProgram, newValue, type PlanNode, type Value } from '../plan/ir.js';
import { arenaBytes, compilePlan, planInSlices } from '../plan/plan.js';
import type { Device } from '../runtime/device.js';
import { expectKnownKeys } from '../runtime/option_errors.js';
import type { Program } from '../runtime/program.js';
import { countElements, formatShape } from '../runtime/shape.js';
import { shownValue } from '../runtime/shown_value.js';
import { atOnce, inTurns, type Slices } from '../runtime/slices.js';
import type { Graph } from './graph.js';
import { expectSteps, type StepOptions } from './steps.js';
import { type OpCall, Tensor } from './tensor.js';

/** What to compile of a graph. */
export interface CompileOptions extends StepOptions {
  /** Results by name. What no output needs is left out. */
  outputs: Readonly<Record<string, Tensor>>;
  /** Results that are computed for what they change in state; they are not copied out. */
  effects?: readonly Tensor[];
  /** The largest value of each symbolic extent: memory is reserved for it. */
  extents?: Readonly<Record<string, { max: number }>>;
  /** Where it runs, for a graph without weights, parameters and state. Default: where those lie, otherwise the processor. */
  device?: Device | undefined;
}

const compileOptionNames: readonly (keyof CompileOptions)[] = ['outputs', 'effects', 'extents', 'feeds', 'while', 'device'];

/**
 * Plans and verifies the part of `graph` that the outputs need, and reserves its memory for the largest extents.
 * Throws OptionError for an unknown option or name or an extent without a bound, ShapeError for an output of another graph, ShapeError or
 * DTypeError for a feed or condition that does not fit, PoolExhaustedError without memory, DisposedError for a tensor whose buffer was
 * disposed of, DeviceError where its tensors lie on several devices.
 */
export function compile(graph: Graph, options: CompileOptions): Program {
  return compilePlan(lower(graph, options), options.device);
}

/** The same without holding the event loop for long, for large graphs. */
export async function compileInTurns(graph: Graph, options: CompileOptions): Promise<Program> {
  const program = await inTurns(lowerInSlices(graph, options));
  return inTurns(planInSlices(program, options.device));
}

/** Bytes of intermediates that a program would reserve, without making it. */
export function planArena(graph: Graph, options: CompileOptions): number {
  return arenaBytes(lower(graph, options));
}

/** The graph as plain nodes in order of creation, dead ones left out. */
export const lower = (graph: Graph, options: CompileOptions): LogicalProgram => atOnce(lowerInSlices(graph, options));

function* lowerInSlices(graph: Graph, options: CompileOptions): Slices<LogicalProgram> {
  expectKnownKeys(options, compileOptionNames, 'compile');
  const names = Object.entries(options?.outputs ?? {});
  const effects = options?.effects ?? [];
  if (names.length + effects.length === 0) throw new OptionError('compile: expected at least one output');
  const calls = new Set<OpCall>();
  const tensors = new Set<Tensor>();
  const pending = [...names, ...effects.map((tensor) => ['effect', tensor] as const)].map(([name, tensor]) => {
    if (!(tensor instanceof Tensor))
      throw new OptionError(`output '${name}' is ${shownValue(tensor)}: expected a tensor of the graph`, { name, actual: tensor });
    if (tensor.graph !== graph) throw new ShapeError(`output '${name}' belongs to another graph`, { name });
    return tensor;
  });
  for (let tensor = pending.pop(); tensor !== undefined; tensor = pending.pop()) {
    if (tensors.has(tensor)) continue;
    tensors.add(tensor);
    if (tensor.source.kind === 'view') pending.push(tensor.source.base);
    if (tensor.source.kind !== 'op' || calls.has(tensor.source.call)) continue;
    calls.add(tensor.source.call);
    for (const input of Object.values(tensor.source.call.inputs)) if (input !== undefined) pending.push(input);
    pending.push(...Object.values(tensor.source.call.outputs));
    yield;
  }

  const values = new Map<Tensor, Value>();
  for (const tensor of [...tensors].sort((a, b) => a.id - b.id)) {
    values.set(tensor, toValue(tensor, values));
    yield;
  }
  const nodes: PlanNode[] = [];
  for (const call of [...calls].sort((a, b) => firstOutput(a) - firstOutput(b))) {
    nodes.push(toNode(call, values));
    yield;
  }
  const inputs = [...tensors]
    .flatMap((tensor) =>
      tensor.source.kind === 'input' ? [{ name: tensor.source.name, value: values.get(tensor) as Value, id: tensor.id }] : [],
    )
    .sort((a, b) => a.id - b.id);
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const outputs = names.map(([name, tensor]) => ({ name, value: ownedOutput(values.get(tensor) as Value, producers, nodes) }));
  expectSteps(options, inputs, outputs);
  return { nodes, inputs, outputs, extents: boundExtents(tensors, options), feeds: options.feeds ?? [], while: options.while };
}

const firstOutput = (call: OpCall): number => Math.min(...Object.values(call.outputs).map((t) => t.id));

function toValue(tensor: Tensor, values: ReadonlyMap<Tensor, Value>): Value {
  const { source, dtype, shape } = tensor;
  const value: Value = { ...newValue(dtype, shape), pinned: source.kind === 'input' };
  if (source.kind === 'weight' || source.kind === 'state' || source.kind === 'parameter')
    return { ...value, bound: source.tensor, frozen: source.kind === 'weight' };
  if (source.kind === 'view') return { ...value, viewOf: values.get(source.base) as Value, firstColumn: source.firstColumn };
  return value;
}

function toNode(call: OpCall, values: ReadonlyMap<Tensor, Value>): PlanNode {
  const { inputs, outputs } = opTable[call.op] as { inputs: readonly string[]; outputs: readonly string[] };
  return {
    op: call.op,
    inputs: inputs.map((name) => {
      const tensor = call.inputs[name];
      return tensor === undefined ? undefined : (values.get(tensor) as Value);
    }),
    outputs: outputs.map((name) => values.get(call.outputs[name] as Tensor) as Value),
    attrs: call.attrs,
  };
}

// An output needs memory of its own: a view, an input or a weight is copied into it.
function ownedOutput(value: Value, producers: ReadonlyMap<Value, PlanNode>, nodes: PlanNode[]): Value {
  const producer = producers.get(value);
  if (producer !== undefined && Object.keys(opTable[producer.op].alias).length === 0 && !value.pinned) {
    value.pinned = true;
    return value;
  }
  const copied: Value = { ...newValue(value.dtype, value.shape), pinned: true };
  nodes.push({ op: 'copy', inputs: [value], outputs: [copied], attrs: {} });
  return copied;
}

// What the native side takes as one tensor.
const maxElements = 2 ** 46;

// Of the extents that are used; as with inputs, what no output needs is left out.
function boundExtents(tensors: ReadonlySet<Tensor>, { extents = {} }: CompileOptions): Map<string, number> {
  for (const [name, bound] of Object.entries(extents)) {
    expectKnownKeys(bound, ['max'], `extents.${name}`);
    if (!Number.isSafeInteger(bound?.max) || bound.max < 0)
      throw new OptionError(`extents.${name}.max is ${shownValue(bound?.max)}: expected a whole number, 0 or more`, { name });
  }
  const used = new Set<string>();
  for (const { shape } of tensors) for (const dimension of shape) if (typeof dimension !== 'number') used.add(dimension.extent);
  const unbounded = [...used].find((name) => !Object.hasOwn(extents, name));
  if (unbounded !== undefined)
    throw new OptionError(`the extent '${unbounded}' has no bound: give extents: { ${unbounded}: { max: … } }`, { extent: unbounded });
  const largest = Object.fromEntries(Object.entries(extents).map(([name, { max }]) => [name, max]));
  for (const { shape } of tensors)
    if (countElements(shape, largest) > maxElements)
      throw new OptionError(`a tensor ${formatShape(shape)} with ${shownValue(largest)}: expected at most 2^46 elements`, {
        actual: largest,
      });
  return new Map(Object.entries(largest).filter(([name]) => used.has(name)));
}
