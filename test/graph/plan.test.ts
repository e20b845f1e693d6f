// The planner: shared memory, results in place, fused operations. Whatever it does, the numbers stay those of the graph.
import { describe, expect, it } from 'vitest';
import { lower } from '../../lib/graph/compile.js';
import { compile, graph, ops, type Tensor, tensor } from '../../lib/index.js';
import { fuse } from '../../lib/plan/fuse.js';
import { placeInPlace } from '../../lib/plan/in_place.js';
import { overlap, place } from '../../lib/plan/ir.js';
import { layOutArena } from '../../lib/plan/memory.js';
import { atOnce } from '../../lib/runtime/slices.js';
import { randomNormal } from '../kernels/numbers.js';

const { add, mul, relu, rmsNorm, rope, scale } = ops;
const [rows, heads, width] = [3, 2, 8];
const normal = (count: number, seed: number): Float32Array => Float32Array.from(randomNormal(count, seed));

describe('the arena', () => {
  it('is reused along a chain: its size does not grow with the chain', () => {
    const arena = (length: number): number => {
      const g = graph();
      let y = g.input('x', 'f32', [64, 64]);
      for (let i = 0; i < length; i++) y = scale(y, 1.5);
      using program = compile(g, { outputs: { y } });
      return program.memory.arenaBytes;
    };
    const one = 64 * 64 * 4;
    expect(arena(1)).toBe(2 * one);
    expect(arena(40)).toBe(4 * one);
    expect(arena(41)).toBe(4 * one);
  });

  it('never gives the same bytes to two values that live at once', () => {
    const g = graph();
    const values: Tensor[] = [g.input('x', 'f32', ['n', 16]), g.input('z', 'f32', ['n', 16])];
    let seed = 5;
    const pick = (): Tensor => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return values[seed % values.length] as Tensor;
    };
    for (let i = 0; i < 60; i++) values.push(i % 3 === 0 ? relu(pick()) : add(pick(), pick()));
    const program = lower(g, { outputs: { last: values.at(-1) as Tensor, middle: values[30] as Tensor }, extents: { n: { max: 7 } } });
    atOnce(placeInPlace(program));
    const { offsets, bytes } = atOnce(layOutArena(program));
    const life = new Map(
      [...offsets.keys()].map((value) => [
        value,
        { first: value.pinned ? -1 : Number.POSITIVE_INFINITY, last: value.pinned ? Number.POSITIVE_INFINITY : -1 },
      ]),
    );
    program.nodes.forEach((node, time) => {
      for (const value of [...node.inputs, ...node.outputs]) {
        if (value === undefined) continue;
        const span = life.get(place(value).owner);
        if (span === undefined) continue;
        span.first = Math.min(span.first, time);
        span.last = Math.max(span.last, time);
      }
    });
    const size = 7 * 16 * 4;
    const all = [...offsets].map(([value, offset]) => ({ offset, ...(life.get(value) as { first: number; last: number }) }));
    for (const a of all)
      for (const b of all) {
        if (a === b || a.first > b.last || b.first > a.last) continue;
        expect(a.offset + size <= b.offset || b.offset + size <= a.offset).toBe(true);
      }
    expect(bytes).toBeLessThan(all.length * size);
  });
});

/** Rotation in float64: what `rope` does to x [rows, heads, width] with a table [rows, 2 * half]. */
function rotated(x: Float32Array, table: Float32Array, half: number): number[] {
  const y = Array.from(x);
  for (let r = 0; r < rows; r++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < half; i++) {
        const at = (r * heads + h) * width + i;
        const [c, s] = [table[r * 2 * half + i] as number, table[r * 2 * half + half + i] as number];
        const [a, b] = [x[at] as number, x[at + half] as number];
        y[at] = a * c - b * s;
        y[at + half] = b * c + a * s;
      }
  return y;
}

const closeTo = (actual: ArrayLike<number> | undefined, expected: ArrayLike<number>): void => {
  expect(actual?.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) expect(actual?.[i]).toBeCloseTo(expected[i] as number, 5);
};

describe('results in place', () => {
  const x = normal(rows * heads * width, 3);
  const table = normal(rows * width, 4);
  const scene = (build: (x: Tensor, table: Tensor) => Record<string, Tensor>) => {
    const g = graph();
    const outputs = build(g.input('x', 'f32', [rows, heads, width]), g.input('table', 'f32', [rows, width]));
    const lowered = lower(g, { outputs });
    atOnce(placeInPlace(lowered));
    const copies = lowered.nodes.filter(({ op }) => op === 'copy').length;
    return { copies, program: compile(g, { outputs }) };
  };

  it('copy nothing when the operand is not needed any more', async () => {
    const { copies, program } = scene((a, t) => ({ y: relu(rope(scale(a, 1), t)) }));
    expect(copies).toBe(0);
    closeTo(
      (await program.run({ x, table })).y as Float32Array,
      rotated(x, table, width / 2).map((v) => Math.max(0, v)),
    );
  });

  it('work on a copy when the operand is read again, is an input, or is an output', async () => {
    const want = rotated(x, table, width / 2);
    const readAgain = scene((a, t) => {
      const b = scale(a, 1);
      return { y: add(rope(b, t), b) };
    });
    expect(readAgain.copies).toBeGreaterThan(0);
    closeTo(
      (await readAgain.program.run({ x, table })).y as Float32Array,
      want.map((v, i) => v + (x[i] as number)),
    );

    const input = scene((a, t) => ({ y: relu(rope(a, t)), z: relu(a) }));
    const fromInput = await input.program.run({ x, table });
    closeTo(
      fromInput.z as Float32Array,
      Array.from(x, (v) => Math.max(0, v)),
    );
    closeTo(
      fromInput.y as Float32Array,
      want.map((v) => Math.max(0, v)),
    );

    const output = scene((a, t) => {
      const b = scale(a, 1);
      return { b, y: rope(b, t) };
    });
    const both = await output.program.run({ x, table });
    closeTo(both.b as Float32Array, x);
    closeTo(both.y as Float32Array, want);
  });

  it('work on a copy of a frozen weight, which stays as it is', async () => {
    const g = graph();
    const w = g.weight('w', tensor('f32', [rows, heads, width], x));
    const y = rope(w, g.input('table', 'f32', [rows, width]));
    using program = compile(g, { outputs: { y, w } });
    for (let run = 0; run < 3; run++) {
      const result = await program.run({ table });
      closeTo(result.w as Float32Array, x);
      closeTo(result.y as Float32Array, rotated(x, table, width / 2));
    }
  });

  it('of one slice leave the other slices alone', async () => {
    const g = graph();
    const data = normal(rows * 2 * heads * width, 6);
    const both = scale(g.input('x', 'f32', [rows, 2 * heads * width]), 1);
    const [left, right] = [both.columns(0, heads * width), both.columns(heads * width, 2 * heads * width)];
    const t = g.input('table', 'f32', [rows, width]);
    const turned = rope(left.reshape([rows, heads, width]), t).reshape([rows, heads * width]);
    using program = compile(g, { outputs: { y: ops.gate(turned, right, 'relu'), again: ops.gate(right, right, 'relu') } });
    const { y, again } = await program.run({ x: data, table });
    const part = (offset: number) =>
      Float32Array.from(
        { length: rows * heads * width },
        (_, i) => data[Math.floor(i / (heads * width)) * 2 * heads * width + offset + (i % (heads * width))] as number,
      );
    const [l, r] = [part(0), part(heads * width)];
    closeTo(
      y as Float32Array,
      rotated(l, table, width / 2).map((v, i) => Math.max(0, v) * (r[i] as number)),
    );
    closeTo(
      again as Float32Array,
      Array.from(r, (v) => Math.max(0, v) * v),
    );
  });

  it('chained over one another keep every version that is still wanted', async () => {
    const { program } = scene((a, t) => {
      const once = rope(scale(a, 1), t);
      const twice = rope(once, t);
      return { y: add(rope(twice, t), once) };
    });
    const once = rotated(x, table, width / 2);
    const thrice = [1, 2].reduce<number[]>((v) => rotated(Float32Array.from(v), table, width / 2), once);
    const { y } = await program.run({ x, table });
    expect(
      (y as Float32Array).every(
        (v, i) => Math.abs(v - (thrice[i] as number) - (once[i] as number)) < 1e-3 * Math.max(1, Math.abs(thrice[i] as number)),
      ),
    ).toBe(true);
  });
});

describe('overlap of views', () => {
  it('tells columns of the same rows apart and takes all else for shared', () => {
    const g = graph();
    const x = scale(g.input('x', 'f32', [4, 12]), 1);
    const parts = [x.columns(0, 4), x.columns(4, 8), x.columns(2, 6), x.columns(4, 8).reshape([4, 2, 2])];
    const { nodes } = lower(g, { outputs: Object.fromEntries(parts.map((part, i) => [`y${i}`, part])) });
    const [left, middle, across, reshaped] = nodes.filter(({ op }) => op === 'copy').map(({ inputs }) => inputs[0]);
    const meet = (a: typeof left, b: typeof left): boolean => overlap(a as NonNullable<typeof left>, b as NonNullable<typeof left>);
    expect([meet(left, middle), meet(left, across), meet(middle, across), meet(middle, reshaped), meet(left, reshaped)]).toEqual([
      false,
      true,
      true,
      true,
      false,
    ]);
  });
});

describe('fusion of an addition with the norm of its sum', () => {
  const build = (share: boolean) => {
    const g = graph();
    const [a, b] = [g.input('a', 'f32', ['n', 33]), g.input('b', 'f32', ['n', 33])];
    const weight = g.weight('w', tensor('f32', [33], normal(33, 1)));
    const sum = add(a, b);
    const y = rmsNorm(sum, weight, { eps: 1e-5, weightOffset: 1 });
    // An output in between keeps the two operations apart.
    const apart = rmsNorm(share ? sum : ops.copy(sum), weight, { eps: 1e-5, weightOffset: 1 });
    return { g, outputs: { sum, y, apart, product: mul(sum, y) } };
  };

  it('happens, once', () => {
    const { g, outputs } = build(true);
    const program = lower(g, { outputs, extents: { n: { max: 8 } } });
    atOnce(fuse(program));
    expect(program.nodes.map(({ op }) => op).sort()).toEqual(['add_rms_norm', 'mul', 'rms_norm']);
  });

  it('changes no bit', async () => {
    const { g, outputs } = build(false);
    using program = compile(g, { outputs, extents: { n: { max: 8 } } });
    const [a, b] = [normal(5 * 33, 2), normal(5 * 33, 3)];
    const result = await program.run({ a, b });
    expect(result.sum).toEqual(a.map((v, i) => v + (b[i] as number)));
    expect(result.y).toEqual(result.apart);
    expect(result.product).toEqual((result.sum as Float32Array).map((v, i) => v * (result.y?.[i] as number)));
  });
});

describe('fusion of the rotation of keys with their storing', () => {
  const [tokens, keyHeads, keyWidth] = [5, 2, 10];
  const layerBytes = 2 * keyHeads * keyWidth * 16 * 4;
  const build = (interleaved: boolean, kept: boolean, rotary = 6, inverse = false, asValues = false) => {
    const g = graph();
    const k = g.input('k', 'f32', [tokens, 3 * keyHeads * keyWidth]).columns(keyHeads * keyWidth, 2 * keyHeads * keyWidth);
    const keys = rope(k.reshape([tokens, keyHeads, keyWidth]), g.input('table', 'f32', [tokens, rotary]), { interleaved, inverse });
    const v = g.input('v', 'f32', [tokens, keyHeads, keyWidth]);
    const int = (name: string, shape: number[]) => g.input(name, 'i32', shape);
    const paging = {
      pool: g.input('pool', 'u8', [layerBytes]),
      blockTable: int('blockTable', [1, 1]),
      positions: int('positions', [tokens]),
      request: int('request', [tokens]),
    };
    const pool = ops.kvWrite(keys, asValues ? keys : v, paging, { pageBytes: layerBytes, layerOffset: 0, cacheType: 'f32' });
    const outputs: Record<string, Tensor> = kept ? { pool, keys } : { pool };
    return { g, outputs };
  };
  const names = ({ g, outputs }: ReturnType<typeof build>): string[] => {
    const program = lower(g, { outputs });
    atOnce(fuse(program));
    return program.nodes.map(({ op }) => op).sort();
  };

  it('happens where the rotated keys are read by nothing else', () => {
    expect(names(build(false, false))).not.toContain('rope');
    expect(names(build(false, true))).toContain('rope');
    expect(names(build(false, false, 6, true))).toContain('rope');
    expect(names(build(false, false, 6, false, true))).toContain('rope');
  });

  it.each([false, true])('changes no bit (interleaved: %s)', async (interleaved) => {
    const inputs = {
      k: normal(tokens * 3 * keyHeads * keyWidth, 4),
      table: normal(tokens * 6, 5),
      v: normal(tokens * keyHeads * keyWidth, 6),
      pool: new Uint8Array(layerBytes),
      blockTable: new Int32Array(1),
      positions: Int32Array.from([0, 7, 2, 15, 9]),
      request: new Int32Array(tokens),
    };
    const pools = [];
    for (const kept of [false, true]) {
      const { g, outputs } = build(interleaved, kept);
      using program = compile(g, { outputs });
      pools.push((await program.run(inputs)).pool);
    }
    expect(pools[0]).toEqual(pools[1]);
    expect(pools[0]).not.toEqual(inputs.pool);
  });
});

describe('fusion of an activation with the product that it is for', () => {
  const build = (kept: boolean, swapped: boolean) => {
    const g = graph();
    const [x, up] = [g.input('x', 'f32', ['n', 33]), g.input('up', 'f32', ['n', 33])];
    const active = ops.activate(x, 'silu');
    const y = swapped ? mul(up, active) : mul(active, up);
    const outputs: Record<string, Tensor> = kept ? { y, active } : { y };
    return { g, outputs };
  };

  it.each([false, true])('happens where nothing else reads it, and changes no bit (activation on the right: %s)', async (swapped) => {
    const results = [];
    for (const kept of [false, true]) {
      const { g, outputs } = build(kept, swapped);
      const program = lower(g, { outputs, extents: { n: { max: 8 } } });
      atOnce(fuse(program));
      expect(program.nodes.some(({ op }) => op === 'gate')).toBe(!kept);
      using compiled = compile(g, { outputs, extents: { n: { max: 8 } } });
      results.push((await compiled.run({ x: normal(5 * 33, 7), up: normal(5 * 33, 8) })).y);
    }
    expect(results[0]).toEqual(results[1]);
  });
});

describe('fusion beside state that changes', () => {
  const ones = (): Float32Array => new Float32Array(2).fill(1);

  it.each(['state', 'parameter'] as const)('leaves a norm whose weight is a %s behind the change of it', async (kind) => {
    const g = graph();
    const w = g[kind]('w', tensor('f32', [2], ones()));
    const sum = add(g.input('a', 'f32', [1, 2]), g.input('b', 'f32', [1, 2]));
    const changed = ops.accumulate(w, g.input('d', 'f32', [2]));
    using program = compile(g, { outputs: { y: rmsNorm(sum, w, { eps: 0 }) }, effects: [changed] });
    const { y } = await program.run({ a: ones(), b: ones(), d: Float32Array.of(100, 200) });
    closeTo(y as Float32Array, [101, 201]);
  });

  it('reads what an op left in state before the next op changes it', async () => {
    const g = graph();
    const w = g.state('w', tensor('f32', [1, 2], ones()));
    const d = g.input('d', 'f32', [1, 2]);
    const once = ops.accumulate(w, d);
    const active = relu(once);
    const twice = ops.accumulate(once, d);
    using program = compile(g, { outputs: { y: mul(active, g.input('up', 'f32', [1, 2])) }, effects: [twice] });
    const { y } = await program.run({ d: Float32Array.of(10, 20), up: ones() });
    closeTo(y as Float32Array, [11, 21]);
  });
});
