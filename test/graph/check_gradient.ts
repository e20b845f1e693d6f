// Checks an op's gradient rule on the cases that test the op: float64 evaluation against finite differences, f32 against float64.
import { describe, expect, it } from 'vitest';
import { type OpName, opTable } from '../../lib/generated/op_table.js';
import { lower } from '../../lib/graph/compile.js';
import { compile, type Graph, gradient, graph, ops, type Tensor } from '../../lib/index.js';
import type { Device } from '../../lib/runtime/device.js';
import { f32, type OpCase, type Operand, tolerance, valuesOn } from '../kernels/check_op.ts';
import { randomNormal, toBits, uniform } from '../kernels/numbers.ts';
import { hasCudaKernel, testedDevices } from '../kernels/test_devices.ts';
import { Float64Graph, type Float64Inputs } from './evaluate_float64.ts';

/** What of an op's gradient is checked. */
export interface GradientCheck {
  /** The cases of checkOp; those that are refused, and those with values that are not finite or beyond 1e6, are passed over. */
  cases: readonly OpCase[];
  /** Inputs to differentiate by. Default: all of f32. */
  inputs?: readonly string[];
  /** The rule is written with ops that have rules when `differentiable` is asked for: the gradient of the gradient is checked too. Default: true. */
  twice?: boolean;
  /** False where the function has a kink or jump within a step of an element: that element is not moved. */
  smooth?: (value: number, input: string, test: OpCase) => boolean;
  /** Step of finite differences. Default: 1e-3. */
  step?: number;
  /** Factor on the tolerance between f32 and float64, where a gradient's own terms cancel. Default: 4. */
  loosen?: number;
}

/** Larger cases are evaluated, but not moved step by step. */
const mostWork = 2e5;
const mostElements = 1e4;
const relative = 1e-6;

interface Scene {
  graph: Graph;
  /** Inputs that are differentiated by, as the op sees them. */
  parameters: Record<string, Tensor>;
  outputs: Tensor[];
  upstreams: Tensor[];
  /** Values of the graph's inputs. */
  values: Record<string, Float64Array>;
}

/** Registers the tests of an op's gradient rule. Throws where no case can be checked. */
export function checkGradient(op: OpName, check: GradientCheck): void {
  const cases = check.cases.filter((test) => test.error === undefined && isTame(test));
  if (cases.length === 0) throw new Error(`checkGradient('${op}'): no case with finite values`);
  describe(`gradient of ${op}`, () => {
    for (const test of cases)
      it(test.name, async () => {
        for (const differentiable of check.twice === false ? [false] : [false, true]) await checkFirst(op, test, check, differentiable);
        if (check.twice !== false) await checkSecond(op, test, check);
      });
  });
}

const isTame = (test: OpCase): boolean =>
  Object.values(test.inputs).every((operand) => operand === undefined || operand.values.every((v) => Math.abs(v) <= 1e6));

async function checkFirst(op: OpName, test: OpCase, check: GradientCheck, differentiable: boolean): Promise<void> {
  const scene = build(op, test, check);
  const gradients = gradientsOf(scene, differentiable);
  const loss = await Float64Graph.of(scene.outputs);
  const what = differentiable ? 'composed gradient' : 'gradient';
  const exact = (await Float64Graph.of(gradients)).run(scene.values);
  const sum = (values: Float64Inputs): Weighted => weighted(loss.run(values), scene.upstreams, scene.values);
  const seed = 17;
  Object.keys(scene.parameters).forEach((name, i) => {
    compareDifferences(`${what} of ${name}`, test, check, scene, name, exact[i] as Float64Array, sum, seed + i);
  });
  await compareCompiled(what, test, check, scene, gradients, exact);
}

async function checkSecond(op: OpName, test: OpCase, check: GradientCheck): Promise<void> {
  const scene = build(op, test, check);
  const first = gradientsOf(scene, true);
  const weights = first.map((tensor, i) => input(scene, `weight of gradient ${i}`, operandLike(tensor.shape as number[])));
  const parameters = { ...scene.parameters, ...Object.fromEntries(scene.upstreams.map((tensor) => [nameOf(tensor), tensor])) };
  const second = lossGradients(scene, first, weights, Object.values(parameters), false);
  const loss = await Float64Graph.of(first);
  const exact = (await Float64Graph.of(second)).run(scene.values);
  const sum = (values: Float64Inputs): Weighted => weighted(loss.run(values), weights, scene.values);
  Object.keys(parameters).forEach((name, i) => {
    compareDifferences(`second gradient of ${name}`, test, check, scene, name, exact[i] as Float64Array, sum, 71 + i);
  });
  await compareCompiled('second gradient', test, check, scene, second, exact);
}

function build(op: OpName, test: OpCase, check: GradientCheck): Scene {
  const g = graph();
  const scene: Scene = { graph: g, parameters: {}, outputs: [], upstreams: [], values: {} };
  const tensors: Record<string, Tensor | undefined> = {};
  for (const [name, operand] of Object.entries(test.inputs)) {
    if (operand === undefined) continue;
    const tensor = input(scene, name, operand);
    tensors[name] = tensor;
    if (operand.dtype === 'f32' && (check.inputs?.includes(name) ?? true)) scene.parameters[name] = tensor;
  }
  const { outputs: names, alias } = opTable[op] as { outputs: readonly string[]; alias: Readonly<Record<string, string>> };
  const types = Object.fromEntries(
    names.map((name) => {
      const over = alias[name] === undefined ? undefined : test.inputs[alias[name]];
      const type = over ?? test.outputs?.[name];
      if (type === undefined) throw new Error(`case '${test.name}' gives no type for output ${name}`);
      return [name, { dtype: type.dtype, shape: type.dims }];
    }),
  );
  const outputs: Record<string, Tensor> = g.call(op, tensors, test.attrs ?? {}, types);
  for (const [name, tensor] of Object.entries(outputs)) {
    if (tensor.dtype !== 'f32') continue;
    scene.outputs.push(tensor);
    scene.upstreams.push(input(scene, `upstream of ${name}`, operandLike(tensor.shape as number[])));
  }
  return scene;
}

const operandLike = (dims: readonly number[]): Operand =>
  f32(
    dims,
    randomNormal(
      dims.reduce((n, d) => n * d, 1),
      // Far from the seeds of checkOp's operands: equal values would cancel.
      dims.length + 1_000_000,
    ),
  );

// Strided operands are columns of a wider input, as in checkOp.
function input(scene: Scene, name: string, operand: Operand): Tensor {
  const { dtype, dims, stride, values } = operand;
  if (stride === undefined) {
    scene.values[name] = values;
    return scene.graph.input(name, dtype, dims);
  }
  const inner = dims.slice(1).reduce((n, d) => n * d, 1);
  const wide = new Float64Array((dims[0] as number) * stride).fill(7);
  for (let r = 0; r < (dims[0] as number); r++) wide.set(values.subarray(r * inner, (r + 1) * inner), r * stride);
  scene.values[name] = wide;
  const columns = scene.graph.input(name, dtype, [dims[0] as number, stride]).columns(0, inner);
  return dims.length === 2 ? columns : columns.reshape(dims);
}

const nameOf = (tensor: Tensor): string => {
  if (tensor.source.kind !== 'input') throw new Error('expected an input');
  return tensor.source.name;
};

const gradientsOf = (scene: Scene, differentiable: boolean): Tensor[] =>
  lossGradients(scene, scene.outputs, scene.upstreams, Object.values(scene.parameters), differentiable);

// Of the sum of all outputs' products with their upstream gradients.
function lossGradients(
  scene: Scene,
  outputs: readonly Tensor[],
  upstreams: readonly Tensor[],
  parameters: readonly Tensor[],
  differentiable: boolean,
): Tensor[] {
  if (outputs.length === 1) return gradient(outputs[0] as Tensor, parameters, { upstream: upstreams[0] as Tensor, differentiable });
  const sums = outputs.map((tensor, i) => {
    const product = ops.mul(tensor, upstreams[i] as Tensor);
    return ops.reduce(product.reshape([1, (product.shape as number[]).reduce((n, d) => n * d, 1)]), 'sum');
  });
  return gradient(sums.reduce(ops.add), parameters, { upstream: seedOf(scene), differentiable });
}

function seedOf(scene: Scene): Tensor {
  const name = `one ${Object.keys(scene.values).length}`;
  return input(scene, name, f32([1], [1]));
}

interface Weighted {
  sum: number;
  size: number;
}

function weighted(outputs: readonly Float64Array[], upstreams: readonly Tensor[], values: Float64Inputs): Weighted {
  let sum = 0;
  let size = 0;
  outputs.forEach((output, o) => {
    const upstream = values[nameOf(upstreams[o] as Tensor)] as Float64Array;
    output.forEach((v, i) => {
      sum += v * (upstream[i] as number);
      size += Math.abs(v * (upstream[i] as number));
    });
  });
  return { sum, size };
}

function compareDifferences(
  what: string,
  test: OpCase,
  check: GradientCheck,
  scene: Scene,
  name: string,
  exact: Float64Array,
  loss: (values: Float64Inputs) => Weighted,
  seed: number,
): void {
  if (exact.length === 0 || largest(test) > mostElements || largest(test) * (test.reduction ?? 1) > mostWork) return;
  const values = scene.values[name] as Float64Array;
  const operand = test.inputs[name];
  const inner = operand?.stride === undefined ? exact.length : operand.dims.slice(1).reduce((n, d) => n * d, 1);
  const stride = operand?.stride ?? inner;
  const at = (i: number): number => Math.floor(i / inner) * stride + (i % inner);
  const free = Array.from({ length: exact.length }, (_, i) => check.smooth?.(values[at(i)] as number, name, test) ?? true);
  const next = uniform(seed);
  const step = check.step ?? 1e-3;
  const directions = Array.from({ length: 2 }, () => Float64Array.from(exact, () => (next() < 0.5 ? -1 : 1)));
  for (let single = 0; single < 3; single++) {
    const chosen = Math.floor(next() * exact.length);
    directions.push(Float64Array.from(exact, (_, i) => (i === chosen ? 1 : 0)));
  }
  for (const direction of directions) {
    let expected = 0;
    let terms = 0;
    for (let i = 0; i < exact.length; i++) {
      if (!free[i]) direction[i] = 0;
      const term = direction[i] === 0 ? 0 : (direction[i] as number) * (exact[i] as number);
      expected += term;
      terms += Math.abs(term);
    }
    let size = 0;
    const moved = (by: number): number => {
      const shifted = Float64Array.from(values);
      for (let i = 0; i < exact.length; i++) shifted[at(i)] = (values[at(i)] as number) + by * (direction[i] as number);
      const result = loss({ ...scene.values, [name]: shifted });
      size = Math.max(size, result.size);
      return result.sum;
    };
    const central = (by: number): number => (moved(by) - moved(-by)) / (2 * by);
    // Two steps cancel the error of third order.
    const found = (4 * central(step / 2) - central(step)) / 3;
    const allowed = relative * terms + (2e-15 * size) / step + 1e-9;
    if (!(Math.abs(found - expected) <= allowed))
      throw new Error(`${what}: ${expected} along a direction, finite differences give ${found} (allowed ${allowed.toExponential(2)})`);
  }
}

const elements = (dims: readonly number[]): number => dims.reduce((n, d) => n * d, 1);
const largestOf = (values: Iterable<number>): number => {
  let most = 0;
  for (const v of values) most = Math.max(most, Math.abs(v));
  return most;
};
const largest = (test: OpCase): number =>
  Math.max(...[...Object.values(test.inputs), ...Object.values(test.outputs ?? {})].map((type) => (type ? elements(type.dims) : 0)));

async function compareCompiled(
  what: string,
  test: OpCase,
  check: GradientCheck,
  scene: Scene,
  gradients: readonly Tensor[],
  exact: readonly Float64Array[],
): Promise<void> {
  const outputs = Object.fromEntries(gradients.map((tensor, i) => [`gradient ${i}`, tensor]));
  const everywhere = lower(scene.graph, { outputs }).nodes.every(({ op }) => hasCudaKernel(op));
  for (const device of testedDevices)
    if (device.ordinal === undefined || everywhere)
      await compareOn(device, `${what} on ${device.name}`, test, check, scene, { outputs, gradients, exact });
}

async function compareOn(
  device: Device,
  what: string,
  test: OpCase,
  check: GradientCheck,
  scene: Scene,
  { outputs, gradients, exact }: { outputs: Record<string, Tensor>; gradients: readonly Tensor[]; exact: readonly Float64Array[] },
): Promise<void> {
  const program = compile(scene.graph, { outputs, device });
  try {
    const inputs = (await Float64Graph.of(gradients)).inputs;
    const bits = (name: string, values: Float64Array) => {
      const operand = test.inputs[name];
      return operand === undefined ? toBits('f32', values) : toBits(operand.dtype, valuesOn(device, { ...operand, values }));
    };
    const data = Object.fromEntries(
      Object.entries(scene.values).flatMap(([name, values]) => (inputs.has(name) ? [[name, bits(name, values)]] : [])),
    );
    const results = await program.run(data);
    const longest = Math.max(
      ...Object.values(test.inputs).map((operand) =>
        operand ? Math.max(operand.dims.at(-1) ?? 1, elements(operand.dims.slice(0, -1))) : 1,
      ),
    );
    const within = tolerance('f32', Math.max(test.reduction ?? 1, longest)) * (check.loosen ?? 4);
    gradients.forEach((tensor, g) => {
      const actual = results[`gradient ${g}`] as Float32Array;
      const expected = exact[g] as Float64Array;
      expect(actual.length, what).toBe(expected.length);
      const width = Math.max(1, tensor.shape.at(-1) as number);
      const all = largestOf(expected);
      let row = 0;
      for (let i = 0; i < expected.length; i++) {
        if (i % width === 0) row = largestOf(expected.subarray(i, i + width));
        const allowed = within * (row + 1e-2 * all) + 2e-45;
        if (!(Math.abs((actual[i] as number) - (expected[i] as number)) <= allowed))
          throw new Error(`${what} ${g}[${i}] is ${actual[i]}, in float64 ${expected[i]} (allowed ${allowed.toExponential(2)})`);
      }
    });
  } finally {
    program.dispose();
  }
}
