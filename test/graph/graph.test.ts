// Graphs: shapes and dtypes are checked where the user made the mistake, and what is compiled computes what was written.
import { describe, expect, it } from 'vitest';
import {
  type CompileOptions,
  compile,
  type DeviceTensor,
  DisposedError,
  DTypeError,
  gradient,
  graph,
  OptionError,
  ops,
  type Program,
  packedWeight,
  ShapeError,
  type Tensor,
  tensor,
} from '../../lib/index.js';
import { randomNormal } from '../kernels/numbers.js';

const { add, linear, mul, relu, rmsNorm, scale } = ops;

describe('the graph refuses', () => {
  it('shapes that differ, naming the op, both shapes and the reason', () => {
    const g = graph();
    const a = g.input('a', 'f32', ['tokens', 8]);
    const b = g.input('b', 'f32', ['tokens', 9]);
    expect(() => add(a, b)).toThrow(ShapeError);
    expect(() => add(a, b)).toThrow('[add] b is [tokens, 9]: expected [tokens, 8], the shape of a');
    expect(() => mul(b, a)).toThrow('[mul] b is [tokens, 8]: expected [tokens, 9], the shape of a');
    expect(() => add(a, g.input('c', 'f32', ['rows', 8]))).toThrow('[add] b is [rows, 8]: expected [tokens, 8], the shape of a');
  });

  it('an operand whose last dimension does not fit', () => {
    const g = graph();
    const x = g.input('x', 'f32', ['tokens', 8]);
    expect(() => rmsNorm(x, g.input('w', 'f32', [9]), { eps: 1e-6 })).toThrow(
      '[rms_norm] x is [tokens, 8] but weight is [9]: expected weight.shape[0] = 8',
    );
    expect(() => rmsNorm(x, g.input('v', 'f32', [2, 8]), { eps: 1e-6 })).toThrow('[rms_norm] weight is [2, 8]: expected 1 dimension');
  });

  it('element types that an op does not take', () => {
    const g = graph();
    const x = g.input('x', 'i32', [4]);
    expect(() => relu(x)).toThrow(DTypeError);
    expect(() => relu(x)).toThrow('[activate] x is i32: expected f32');
  });

  it('words that an op does not know, as JavaScript may give them', () => {
    const x = graph().input('x', 'f32', [4, 2]);
    const refused = (build: () => unknown, message: string): void => {
      expect(build).toThrow(OptionError);
      expect(build).toThrow(message);
    };
    refused(
      () => ops.activate(x, 'sigmoidd' as 'sigmoid'),
      "[activate] function is 'sigmoidd': expected relu, gelu, gelu_tanh, silu, sigmoid, tanh. Did you mean 'sigmoid'?",
    );
    refused(() => ops.map(x, 'tanh' as 'sin'), "[map] function is 'tanh': expected exp, log, ");
    refused(() => ops.reduce(x, undefined as unknown as 'sum'), "[reduce] kind is 'undefined': expected sum, mean, max.");
  });

  it('operands that are no tensors of a graph, and names that an op does not know', () => {
    const g = graph();
    const x = g.input('x', 'f32', [4, 2]);
    const refused = (build: () => unknown, message: string): void => {
      expect(build).toThrow(OptionError);
      expect(build).toThrow(message);
    };
    const none = undefined as unknown as Tensor;
    refused(() => add(x, none), '[add] b is undefined: expected a tensor of a graph');
    refused(() => add(x, new Float32Array(8) as unknown as Tensor), '[add] b is a Float32Array: expected a tensor of a graph');
    for (const build of [ops.matmul, ops.embedding, ops.repeatRows, ops.repeatColumns]) refused(() => build(none, none), 'is undefined');
    refused(() => ops.sliceRows(none, 0, 1), '[slice_rows] x is undefined');
    const operands = { parameters: x, gradients: x, velocity: x, schedule: x, facter: x };
    refused(() => ops.sgd(operands), "[sgd] has no operand 'facter': did you mean 'factor'?");
  });

  it('attributes of another type, and options that an op does not have', () => {
    const g = graph();
    const x = g.input('x', 'f32', [4, 2]);
    const w = g.input('w', 'f32', [2]);
    const refused = (build: () => unknown, message: string): void => {
      expect(build).toThrow(OptionError);
      expect(build).toThrow(message);
    };
    refused(() => scale(x, undefined as unknown as number), '[scale] factor is undefined: expected a number');
    refused(() => scale(x, '2' as unknown as number), '[scale] factor is "2": expected a number');
    refused(() => ops.matmul(x, x, { transposeB: 1 as unknown as boolean }), '[matmul] transposeB is 1: expected true or false');
    refused(() => ops.matmul(x, x, { transposedB: true } as object), "[matmul] has no option 'transposedB': did you mean 'transposeB'?");
    const options = (given: object): { eps: number } => given as { eps: number };
    refused(() => rmsNorm(x, w, options({ epsilon: 1e-6 })), "[rms_norm] has no option 'epsilon': expected one of eps, weightOffset");
    refused(
      () => rmsNorm(x, w, options({ eps: 0, weightOfset: 1 })),
      "[rms_norm] has no option 'weightOfset': did you mean 'weightOffset'?",
    );
    refused(() => rmsNorm(x, w, options({})), '[rms_norm] eps is undefined: expected a number');
    refused(() => rmsNorm(x, w, 1e-6 as unknown as { eps: number }), '[rms_norm] is 0.000001: expected an object with eps, weightOffset');
    expect(() => ops.repeatRows(w, 1.5)).toThrow('[repeat_rows] y has a dimension of 1.5: expected a whole number, 0 or more');
    expect(rmsNorm(x, w, { eps: 0, weightOffset: undefined }).shape).toEqual([4, 2]);
  });

  it('a weight that was packed for other sizes', async () => {
    const g = graph();
    const weight = g.weight('w', await packedWeight(new Float32Array(20 * 8), 20, 8));
    expect(() => linear(g.input('x', 'f32', ['tokens', 10]), weight, { outputs: 20 })).toThrow(
      '[linear] x is [tokens, 10] but the packed weight is [2, 8, 16]: expected [2, 10, 16] for 20 outputs',
    );
  });

  it('sizes that are none, names that are taken, tensors of another graph', () => {
    const g = graph();
    expect(() => g.input('x', 'f32', [1.5])).toThrow("input 'x' has a dimension of 1.5: expected a whole number, 0 or more");
    expect(() => g.input('y', 'f32', [-1])).toThrow(ShapeError);
    expect(() => g.input('v', 'f99' as 'f32', [1])).toThrow("input 'v' has the dtype 'f99': expected f32, f16, bf16, i32, u8.");
    expect(() => g.input('v', 'f32', [null as unknown as number])).toThrow("input 'v' has a dimension of null: expected a whole number");
    expect(() => g.input('v', 'f32', 'rows' as unknown as [])).toThrow(`input 'v' has the shape "rows": expected an array of dimensions`);
    expect(() => g.weight('v', undefined as unknown as DeviceTensor)).toThrow(
      "weight 'v' is undefined: expected a tensor in native memory",
    );
    expect(() => g.input('z', 'f32', [1, 2, 3, 4, 5])).toThrow("input 'z' has 5 dimensions: at most 4 are supported");
    const a = g.input('a', 'f32', [2]);
    expect(() => g.input('a', 'f32', [2])).toThrow("the graph already has something named 'a'");
    const other = graph().input('a', 'f32', [2]);
    expect(() => add(a, other)).toThrow('[add] b belongs to another graph');
    expect(() => compile(g, { outputs: { other } })).toThrow("output 'other' belongs to another graph");
  });

  it('views that cannot be', () => {
    const x = graph().input('x', 'f32', ['tokens', 12]);
    expect(() => x.reshape(['tokens', 5])).toThrow('[reshape] x is [tokens, 12]: cannot be seen as [tokens, 5]');
    expect(() => x.columns(4, 13)).toThrow('[columns] x is [tokens, 12]: cannot take columns 4 to 13');
    expect(() => x.columns(0.5, 2)).toThrow('[columns] x is [tokens, 12]: cannot take columns 0.5 to 2');
    expect(() => x.columns(4, 8).reshape(['tokens', 2, 2])).not.toThrow();
    expect(() => x.columns(4, 8).reshape([{ extent: 'tokens', coefficient: 4 }])).toThrow(
      /slice of columns \[tokens, 4\]: its first dimension must stay/,
    );
  });

  it('programs without outputs or bounds', () => {
    const g = graph();
    const x = g.input('x', 'f32', ['tokens', 2]);
    expect(() => compile(g, { outputs: {} })).toThrow(OptionError);
    expect(() => compile(g, { outputs: { y: relu(x) } })).toThrow("the extent 'tokens' has no bound: give extents: { tokens: { max: … } }");
    expect(() => compile(g, { outputs: { y: relu(x) }, extents: { tokens: { max: -3 } } })).toThrow(
      'extents.tokens.max is -3: expected a whole number, 0 or more',
    );
    expect(() => compile(g, { outputs: { y: relu(x) }, extents: { tokens: { max: 2 ** 52 } } })).toThrow(
      'a tensor [tokens, 2] with {"tokens":4503599627370496}: expected at most 2^46 elements',
    );
    expect(() => compile(g, { outputs: { y: undefined as unknown as Tensor } })).toThrow("output 'y' is undefined: expected a tensor");
  });

  it('options of compile and gradient that there are none of', () => {
    const g = graph();
    const x = g.input('x', 'f32', [1]);
    const y = relu(x);
    const effects = { efects: [y] } as object;
    expect(() => compile(g, { outputs: { y }, ...effects })).toThrow("compile has no option 'efects': did you mean 'effects'?");
    expect(() => gradient(y, [x], { recompte: undefined } as object)).toThrow(
      "gradient has no option 'recompte': did you mean 'recompute'?",
    );
  });

  it('feeds and conditions that do not fit the program', () => {
    const g = graph();
    const [a, b] = [g.input('alpha', 'f32', ['n', 2]), g.input('b', 'f32', ['n', 3])];
    const whole = g.input('whole', 'i32', ['n', 2]);
    const outputs = { double: scale(a, 2), b2: scale(b, 2), kept: ops.copy(whole) };
    const refused = (rest: Pick<CompileOptions, 'feeds' | 'while'>, kind: typeof OptionError, message: string): void => {
      const build = (): unknown => compile(g, { outputs, extents: { n: { max: 4 } }, ...rest });
      expect(build).toThrow(kind);
      expect(build).toThrow(message);
    };
    const fed = (output: string, input: string) => ({ feeds: [{ output, input }] });
    refused(fed('doubel', 'alpha'), OptionError, "feeds[0]: the program has no output 'doubel': did you mean 'double'?");
    refused(fed('double', 'nope'), OptionError, "feeds[0]: the program has no input 'nope': expected one of alpha, b, whole");
    refused(fed('double', 'whole'), DTypeError, "feeds[0]: output 'double' is f32 but input 'whole' is i32: expected one dtype");
    refused(fed('double', 'b'), ShapeError, "feeds[0]: output 'double' is [n, 2] but input 'b' is [n, 3]: expected equally many elements");
    refused({ while: 'nope' }, OptionError, "while: the program has no output 'nope': expected one of double, b2, kept");
    refused({ while: 'double' }, DTypeError, "while: output 'double' is f32: expected i32");
    refused({ while: 'kept' }, ShapeError, "while: output 'kept' is [n, 2]: expected [1]");
  });
});

describe('a program', () => {
  const small = (): Program => {
    const g = graph();
    const x = g.input('x', 'f32', ['tokens', 2]);
    return compile(g, { outputs: { y: scale(x, 2), sum: add(x, g.input('z', 'f32', ['tokens', 2])) }, extents: { tokens: { max: 4 } } });
  };
  const pair = Float32Array.of(1, 2);

  it('learns its extents from its inputs, up to their bounds', async () => {
    using program = small();
    expect(await program.run({ x: pair, z: pair })).toEqual({ y: Float32Array.of(2, 4), sum: Float32Array.of(2, 4) });
    expect((await program.run({ x: new Float32Array(8).fill(1), z: new Float32Array(8) })).y).toHaveLength(8);
    expect((await program.run({ x: new Float32Array(0), z: new Float32Array(0) })).y).toHaveLength(0);
    await expect(program.run({ x: new Float32Array(10), z: new Float32Array(10) })).rejects.toThrow(
      "the extent 'tokens' is 5: expected 0 to 4, what the program was compiled for",
    );
    await expect(program.run({ x: new Float32Array(3), z: pair })).rejects.toThrow(ShapeError);
    await expect(program.run({ x: pair, z: new Float32Array(4) })).rejects.toThrow("input 'z' is [tokens, 2]: expected 2 elements, got 4");
    await expect(program.run({ x: pair, z: pair }, { extents: { tokens: 2 } })).rejects.toThrow(
      "input 'x' is [tokens, 2]: expected 4 elements, got 2",
    );
  });

  it('names inputs that are missing, unknown or of the wrong kind', async () => {
    using program = small();
    await expect(program.run({ x: pair })).rejects.toThrow("input 'z' is missing: expected a Float32Array of shape [tokens, 2]");
    await expect(program.run({ x: pair, z: pair, w: pair })).rejects.toThrow("the program has no input 'w': expected one of x, z");
    await expect(program.run({ x: pair, z: Int32Array.of(1, 2) })).rejects.toThrow(
      "input 'z' is f32: expected a Float32Array, got Int32Array",
    );
  });

  it('asks for extents that no input tells', async () => {
    const g = graph();
    const x = g.input('x', 'f32', ['a', 'b']);
    using program = compile(g, { outputs: { y: relu(x) }, extents: { a: { max: 4 }, b: { max: 4 } } });
    await expect(program.run({ x: new Float32Array(4) })).rejects.toThrow(
      "the extent 'a' cannot be told from the inputs: give it in extents",
    );
    expect((await program.run({ x: new Float32Array(4) }, { extents: { a: 2 } })).y).toHaveLength(4);
  });

  it('learns an extent whatever it is called', async () => {
    const g = graph();
    const y = relu(g.input('x', 'f32', ['constructor', 2]));
    using program = compile(g, { outputs: { y }, extents: { constructor: { max: 4 } } });
    expect((await program.run({ x: pair })).y).toEqual(pair);
  });

  it('needs no value of an extent that is bounded but not used', async () => {
    const g = graph();
    const y = relu(g.input('x', 'f32', ['n']));
    using program = compile(g, { outputs: { y }, extents: { other: { max: 2 }, n: { max: 4 } } });
    expect((await program.run({ x: Float32Array.of(-1, 1) })).y).toEqual(Float32Array.of(0, 1));
    expect([...program.description.extents]).toEqual([['n', 4]]);
  });

  it('refuses options and extents that it does not have, and steps that are none', async () => {
    using program = small();
    const inputs = { x: pair, z: pair };
    const extents = { tokesn: 1 };
    await expect(program.run(inputs, { extents })).rejects.toThrow("the program has no extent 'tokesn': did you mean 'tokens'?");
    await expect(program.run(inputs, { extent: {} } as object)).rejects.toThrow("run has no option 'extent': did you mean 'extents'?");
    await expect(program.run(undefined as unknown as typeof inputs)).rejects.toThrow(OptionError);
    for (const steps of [0, -1, 1.5, Number.NaN, 2 ** 40]) await expect(program.runBurst(inputs, { steps })).rejects.toThrow(OptionError);
    await expect(program.runBurst(inputs, { steps: 0 })).rejects.toThrow('run: steps is 0: expected a whole number from 1 to 1048576');
  });

  it('refuses inputs whose memory is shared or gone', async () => {
    using program = small();
    const shared = new Float32Array(new SharedArrayBuffer(8));
    await expect(program.run({ x: shared, z: pair })).rejects.toThrow("input 'x' lies in a SharedArrayBuffer: expected memory of its own");
    const gone = Float32Array.of(1, 2);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    await expect(program.run({ x: gone, z: gone })).rejects.toThrow("input 'x' is detached: its ArrayBuffer was transferred away");
  });

  it('is not used after dispose, but finishes what runs', async () => {
    const program = small();
    const running = program.run({ x: pair, z: pair });
    program.dispose();
    expect((await running).y).toEqual(Float32Array.of(2, 4));
    expect(program.disposed).toBe(true);
    const late = program.run({ x: pair, z: pair });
    await expect(late).rejects.toThrow(DisposedError);
    await expect(late).rejects.toMatchObject({ code: 'ERR_HEDDLE_DISPOSED' });
  });

  it('stops for a signal, before and while it runs', async () => {
    const g = graph();
    let y = g.input('x', 'f32', [256, 1024]);
    for (let i = 0; i < 40; i++) y = ops.activate(y, 'gelu');
    using program = compile(g, { outputs: { y } });
    const x = new Float32Array(256 * 1024).fill(0.5);
    await expect(program.run({ x }, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    const controller = new AbortController();
    const running = program.runBurst({ x }, { steps: 50, signal: controller.signal });
    setTimeout(() => controller.abort('enough'), 20);
    await expect(running).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
    expect((await program.run({ x })).y).toHaveLength(x.length);
  });

  it('feeds outputs back and ends when its condition says so', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [1]);
    using program = compile(g, { outputs: { y: scale(x, 2) }, feeds: [{ output: 'y', input: 'x' }] });
    const { steps, outputs } = await program.runBurst({ x: Float32Array.of(1) }, { steps: 5 });
    expect(steps).toBe(5);
    expect(outputs.map(({ y }) => y?.[0])).toEqual([2, 4, 8, 16, 32]);
  });

  it('hands outputs over in parts while it goes on, in order and each once', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [1]);
    using program = compile(g, { outputs: { y: scale(x, 2) }, feeds: [{ output: 'y', input: 'x' }] });
    const parts: number[][] = [];
    await program.runInParts({ x: Float32Array.of(1) }, { steps: 5 }, 0, ({ steps, outputs }) => {
      expect(outputs).toHaveLength(steps);
      parts.push(outputs.map(({ y }) => y?.[0] as number));
    });
    expect(parts).toEqual([[2], [4], [8], [16], [32]]);
    const whole: number[] = [];
    await program.runInParts({ x: Float32Array.of(1) }, { steps: 5 }, 60_000, ({ outputs }) => {
      whole.push(...outputs.map(({ y }) => y?.[0] as number));
    });
    expect(whole).toEqual([2, 4, 8, 16, 32]);
  });

  it('gives way to other work between two steps of a run in parts', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [1]);
    using program = compile(g, { outputs: { y: scale(x, 2) }, feeds: [{ output: 'y', input: 'x' }] });
    const asked = 2 ** 20;
    let steps = 0;
    const long = program.runInParts({ x: Float32Array.of(0) }, { steps: asked }, 60_000, (part) => {
      steps += part.steps;
    });
    const other = await program.run({ x: Float32Array.of(3) });
    await long;
    expect(other.y).toEqual(Float32Array.of(6));
    expect(steps).toBeGreaterThanOrEqual(1);
    expect(steps).toBeLessThan(asked);
  });

  it('leaves out what no output needs', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [2]);
    g.input('unused', 'f32', [2]);
    using program = compile(g, { outputs: { y: relu(x) } });
    expect(program.description.inputs.map(({ name }) => name)).toEqual(['x']);
    expect((await program.run({ x: Float32Array.of(-1, 1) })).y).toEqual(Float32Array.of(0, 1));
  });

  it('gives inputs, weights and views as outputs of their own', async () => {
    const g = graph();
    const x = g.input('x', 'f32', [2, 4]);
    const w = g.weight('w', tensor('f32', [2], Float32Array.of(7, 8)));
    using program = compile(g, { outputs: { x, w, slice: x.columns(1, 3), twice: x } });
    const data = Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await program.run({ x: data })).toEqual({ x: data, w: Float32Array.of(7, 8), slice: Float32Array.of(2, 3, 6, 7), twice: data });
  });
});

describe('operations that are chained', () => {
  it('agree with float64', async () => {
    const [rows, width, outputs] = [5, 24, 20];
    const w = randomNormal(outputs * width, 1);
    const x = randomNormal(rows * width, 2);
    const g = graph();
    const input = g.input('x', 'f32', ['rows', width]);
    const y = linear(relu(input), g.weight('w', await packedWeight(Float32Array.from(w), outputs, width)), { outputs });
    using program = compile(g, { outputs: { y: add(y, y) }, extents: { rows: { max: 16 } } });
    const result = (await program.run({ x: Float32Array.from(x) })).y as Float32Array;
    for (let r = 0; r < rows; r++)
      for (let n = 0; n < outputs; n++) {
        let sum = 0;
        for (let k = 0; k < width; k++) sum += Math.max(0, x[r * width + k] as number) * (w[n * width + k] as number);
        expect(result[r * outputs + n]).toBeCloseTo(2 * sum, 4);
      }
  });
});
