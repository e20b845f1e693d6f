// Gradients through grouped adapters, against the same adapters put together from products of matrices.
import { describe, expect, it } from 'vitest';
import { compile, emptyTensor, gradient, graph, ops, type Program, type Tensor, tensor } from '../../lib/index.js';
import { randomNormal } from '../kernels/numbers.js';

const tokens = 7;
const width = 12;
const outputs = 20;
const rank = 3;
const scale = 0.5;
const normal = (count: number, seed: number): Float32Array => Float32Array.from(randomNormal(count, seed), (v) => v * 0.5);

// Two layers width → outputs → width, each with one adapter; rows of the factors at multiples of 16 floats.
const aRows = (layer: number): { first: number; columns: number; stride: number } =>
  layer === 0 ? { first: 0, columns: width, stride: 16 } : { first: rank * 48, columns: outputs, stride: 32 };
const bRows = (layer: number): { first: number; columns: number; stride: number } =>
  layer === 0 ? { first: rank * 16, columns: outputs, stride: 32 } : { first: rank * 80, columns: width, stride: 16 };
const elements = rank * 96;

type Rows = ReturnType<typeof aRows>;
const dense = ({ first, columns, stride }: Rows, all: Float32Array): Float32Array =>
  Float32Array.from({ length: rank * columns }, (_, i) => all[first + Math.floor(i / columns) * stride + (i % columns)] as number);

const pool = new Float32Array(elements);
[aRows(0), bRows(0), aRows(1), bRows(1)].forEach(({ first, columns, stride }, i) => {
  for (let r = 0; r < rank; r++) pool.set(normal(columns, 10 * i + r + 1), first + r * stride);
});
const weights = [normal(outputs * width, 91), normal(width * outputs, 92)] as const;
const routeWeights = normal(tokens, 93);
const data = { x: normal(tokens * width, 94), up: normal(tokens * width, 95) };

async function grouped(): Promise<Record<string, Float32Array>> {
  const g = graph();
  const x = g.input('x', 'f32', [tokens, width]);
  const addresses = [aRows(0), bRows(0), aRows(1), bRows(1)].flatMap(({ first, stride }) =>
    Array.from({ length: rank }, (_, r) => (first + r * stride) / 16),
  );
  const bits = new Int32Array(Float32Array.of(scale).buffer)[0] as number;
  const entries = [1, 0, rank, 0, rank, -1, -1, bits, 1, 0, rank, 2 * rank, 3 * rank, -1, -1, bits];
  const held = tensor('u8', [elements * 4], new Uint8Array(pool.buffer));
  const routing = {
    index: g.weight('index', tensor('i32', [tokens, 1], new Int32Array(tokens))),
    weight: g.input('routeWeights', 'f32', [tokens, 1]),
    entries: g.weight('entries', tensor('i32', [1, 2, 8], Int32Array.from(entries))),
    rows: g.weight('rows', tensor('i32', [addresses.length], Int32Array.from(addresses))),
    pool: g.parameter('pool', held),
  };
  const layer = (input: Tensor, site: number, from: number, to: number): Tensor => {
    const weight = g.weight(`w${site}`, tensor('f32', [to, from], weights[site] as Float32Array));
    const columns = g.weight(`columns ${site}`, tensor('i32', [2], Int32Array.of(0, to)));
    return ops.groupedLora(input, ops.matmul(input, weight, { transposeB: true }), routing, { site, columns });
  };
  const y = layer(layer(x, 0, width, outputs), 1, outputs, width);
  const gradients = g.state('gradients', emptyTensor('f32', [elements]));
  const [dx, dweight, dpool] = gradient(y, [x, routing.weight, routing.pool], {
    upstream: g.input('up', 'f32', [tokens, width]),
    into: new Map([[routing.pool, gradients]]),
  }) as [Tensor, Tensor, Tensor];
  return run(compile(g, { outputs: { y, dx, dweight, dpool } }));
}

async function composed(): Promise<Record<string, Float32Array>> {
  const g = graph();
  const x = g.input('x', 'f32', [tokens, width]);
  const routeWeight = g.input('routeWeights', 'f32', [tokens, 1]);
  const parameters: Tensor[] = [];
  const factor = (name: string, rows: Rows): Tensor => {
    const parameter = g.parameter(name, tensor('f32', [rank, rows.columns], dense(rows, pool)));
    parameters.push(parameter);
    return parameter;
  };
  const layer = (input: Tensor, site: number, from: number, to: number): Tensor => {
    const weight = g.weight(`w${site}`, tensor('f32', [to, from], weights[site] as Float32Array));
    const low = ops.matmul(input, factor(`a${site}`, aRows(site)), { transposeB: true });
    const ones = g.weight(`ones ${site}`, tensor('f32', [1, rank], new Float32Array(rank).fill(1)));
    const weighted = ops.mul(low, ops.matmul(routeWeight, ones));
    const delta = ops.matmul(weighted, factor(`b${site}`, bRows(site)));
    return ops.add(ops.matmul(input, weight, { transposeB: true }), ops.scale(delta, scale));
  };
  const y = layer(layer(x, 0, width, outputs), 1, outputs, width);
  const [dx, dweight, ...factors] = gradient(y, [x, routeWeight, ...parameters], {
    upstream: g.input('up', 'f32', [tokens, width]),
  }) as [Tensor, Tensor, ...Tensor[]];
  const [a0, b0, a1, b1] = factors as [Tensor, Tensor, Tensor, Tensor];
  return run(compile(g, { outputs: { y, dx, dweight, a0, b0, a1, b1 } }));
}

async function run(program: Program): Promise<Record<string, Float32Array>> {
  const result = (await program.run({ ...data, routeWeights })) as Record<string, Float32Array>;
  program.dispose();
  return result;
}

function expectClose(actual: Float32Array, expected: Float32Array, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  const size = Math.max(...expected.map(Math.abs));
  expect(size, what).toBeGreaterThan(0.1);
  expected.forEach((value, i) => {
    expect(Math.abs((actual[i] as number) - value), `${what}[${i}]`).toBeLessThan(size * 2e-6);
  });
}

describe('gradients of grouped_lora', () => {
  it('are those of the same adapters as products of matrices: x, routes and all factors', async () => {
    const one = await grouped();
    const other = await composed();
    for (const name of ['y', 'dx', 'dweight']) expectClose(one[name] as Float32Array, other[name] as Float32Array, name);
    const gradients = one.dpool as Float32Array;
    for (const [name, rows] of Object.entries({ a0: aRows(0), b0: bRows(0), a1: aRows(1), b1: bRows(1) })) {
      expectClose(dense(rows, gradients), other[name] as Float32Array, name);
      for (let r = 0; r < rank; r++) {
        const end = rows.first + r * rows.stride;
        expect(gradients.subarray(end + rows.columns, end + rows.stride)).toEqual(new Float32Array(rows.stride - rows.columns));
      }
    }
  });

  it('goes to the adapters of an embedding', async () => {
    const g = graph();
    const bits = new Int32Array(Float32Array.of(scale).buffer)[0] as number;
    const [vocabulary, first] = [5, rank * 16];
    const factors = new Float32Array(2 * first);
    for (let r = 0; r < rank; r++) {
      factors.set(normal(vocabulary, 50 + r), r * 16);
      factors.set(normal(width, 60 + r), first + r * 16);
    }
    const ids = Int32Array.of(4, 0, 4, 2);
    const routing = {
      index: g.weight('index', tensor('i32', [4, 1], new Int32Array(4))),
      weight: g.weight('weight', tensor('f32', [4, 1], new Float32Array(4).fill(1))),
      entries: g.weight('entries', tensor('i32', [1, 1, 8], Int32Array.of(1, 0, rank, 0, rank, -1, -1, bits))),
      rows: g.weight(
        'rows',
        tensor(
          'i32',
          [2 * rank],
          Int32Array.from({ length: 2 * rank }, (_, r) => r),
        ),
      ),
      pool: g.parameter('pool', tensor('u8', [factors.length * 4], new Uint8Array(factors.buffer))),
    };
    const idTensor = g.weight('ids', tensor('i32', [4], ids));
    const table = g.weight('table', tensor('f32', [vocabulary, width], new Float32Array(vocabulary * width)));
    const y = ops.groupedEmbedding(idTensor, ops.embedding(idTensor, table), routing, { site: 0 });
    const into = new Map([[routing.pool, g.state('gradients', emptyTensor('f32', [factors.length]))]]);
    const [dpool] = gradient(y, [routing.pool], { upstream: g.input('up', 'f32', [4, width]), into }) as [Tensor];
    const program = compile(g, { outputs: { dpool } });
    const up = normal(4 * width, 70);
    const { dpool: got } = (await program.run({ up })) as { dpool: Float32Array };
    program.dispose();
    for (let r = 0; r < rank; r++) {
      const expected = new Float64Array(vocabulary);
      ids.forEach((id, t) => {
        for (let n = 0; n < width; n++)
          expected[id] = (expected[id] as number) + scale * (factors[first + r * 16 + n] as number) * (up[t * width + n] as number);
      });
      expected.forEach((value, id) => {
        expect(got[r * 16 + id], `A[${r}][${id}]`).toBeCloseTo(value, 5);
      });
    }
  });

  it('refuses what it cannot give', () => {
    const g = graph();
    const x = g.input('x', 'f32', [1, 4]);
    const base = g.input('base', 'f32', [1, 4]);
    const routing = {
      index: g.input('index', 'i32', [1, 1]),
      weight: g.input('weight', 'f32', [1, 1]),
      entries: g.input('entries', 'i32', [1, 1, 8]),
      rows: g.input('rows', 'i32', [1]),
      pool: g.parameter('pool', emptyTensor('u8', [64])),
    };
    const columns = g.input('columns', 'i32', [2]);
    const baseBias = g.input('bias', 'f32', [4]);
    const y = ops.groupedLora(x, base, routing, { site: 0, columns, baseBias });
    const upstream = g.input('up', 'f32', [1, 4]);
    expect(() => gradient(y, [base], { upstream })).toThrow('a gradient to base only together with one to x, pool or weight');
    expect(() => gradient(y, [baseBias, x], { upstream })).toThrow('no gradient to baseBias');
    expect(() => gradient(y, [x], { upstream, differentiable: true })).toThrow('no second derivative');
    const into = new Map([[routing.pool, g.state('bytes', emptyTensor('u8', [64]))]]);
    expect(() => gradient(y, [routing.pool], { upstream, into })).toThrow('gradients is u8: expected f32');
    const embedded = ops.groupedEmbedding(g.input('ids', 'i32', [1]), base, routing, { site: 0 });
    expect(() => gradient(embedded, [base], { upstream })).toThrow('no gradient to base');
    expect(() => gradient(embedded, [routing.weight], { upstream })).toThrow('no gradient to weight');
  });
});
