import { describe, expect, it } from 'vitest';
import type { RowBlock, SiteParts } from '../../lib/adapters/method.ts';
import { narrow, roundToBf16 } from '../../lib/adapters/narrow.ts';
import { roundFactors } from '../../lib/adapters/round_factors.ts';
import { randomNormal, toBits, uniform } from '../kernels/numbers.ts';
import { partsOf } from './parts.ts';

describe('roundToBf16', () => {
  it('takes the bf16 number that rounding from float64 takes, whatever the bits', () => {
    const random = uniform(5);
    const edges = [0, 0x80000000, 0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0xff7f8000, 0x7f800000, 0xff800000, 1, 0x7fff, 0x8000];
    const bits = Uint32Array.from([...edges, ...Array.from({ length: 100_000 }, () => Math.floor(random() * 2 ** 32))]);
    const values = new Float32Array(bits.buffer).filter((x) => !Number.isNaN(x));
    expect(roundToBf16(values)).toEqual(narrow('bf16', Float64Array.from(values)));
  });
  it('keeps NaN NaN, and its sign', () => {
    const bits = Uint32Array.of(0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7fc00000);
    for (const [i, rounded] of roundToBf16(new Float32Array(bits.buffer)).entries()) {
      expect(rounded & 0x7fff).toBeGreaterThan(0x7f80);
      expect(rounded >>> 15).toBe((bits[i] as number) >>> 31);
    }
  });
  it('reads a part of a buffer', () => {
    const values = Float32Array.from(randomNormal(10, 1));
    expect(roundToBf16(values.subarray(3, 7))).toEqual(roundToBf16(values).subarray(3, 7));
  });
});

describe('roundFactors', () => {
  const block = (dtype: 'f32' | 'f16' | 'bf16', count: number, width: number): RowBlock => {
    const values = randomNormal(count * width, count + width);
    return { dtype, count, width, data: dtype === 'f32' ? Float32Array.from(values) : (toBits(dtype, values) as Uint16Array) };
  };
  const site = (number: number, dtype: 'f32' | 'f16' | 'bf16', more: Partial<SiteParts> = {}): SiteParts => ({
    ...{ path: `site${number}`, number, site: 'linear', kind: 'lowRank', dtype, rank: 3, scale: 0.5 },
    ...{ a: block(dtype, 3, 40), bT: block(dtype, 3, 50), gain: Float32Array.of(0.1), shift: Float32Array.of(0.3) },
    ...more,
  });
  const roundedSite = async (given: SiteParts): Promise<SiteParts> =>
    (await roundFactors(partsOf(given))).sites.get(given.path) as SiteParts;

  it.each([
    ['f32 factors', site(0, 'f32')],
    ['factors of an embedding', site(1, 'f32', { site: 'embedding' })],
    ['a network', site(2, 'f32', { kind: 'series', activation: 'gelu' })],
  ])('rounds %s, and no gain or shift', async (_, given) => {
    const { dtype, a, bT, ...rest } = await roundedSite(given);
    const { dtype: __, a: wideA, bT: wideB, ...same } = given;
    expect(rest).toEqual(same);
    expect([dtype, a.dtype, bT?.dtype]).toEqual(['bf16', 'bf16', 'bf16']);
    expect(a.data).toEqual(roundToBf16(wideA.data as Float32Array));
    expect(bT?.data).toEqual(roundToBf16(wideB?.data as Float32Array));
  });
  it('rounds f16 by way of f32', async () => {
    const given = site(0, 'f16', { a: { dtype: 'f16', count: 1, width: 3, data: Uint16Array.of(0x3c00, 0x3c01, 0xfbff) } });
    expect((await roundedSite(given)).a.data).toEqual(roundToBf16(Float32Array.of(1, 1 + 2 ** -10, -65504)));
  });
  it('rounds whole weights larger than a piece', async () => {
    const a = block('f32', 700, 400);
    const rounded = await roundedSite({ ...site(0, 'f32', { kind: 'dense', rank: 700, a }), bT: undefined });
    expect(rounded.a.data).toEqual(roundToBf16(a.data as Float32Array));
    expect(rounded.bT).toBeUndefined();
  });
  it.each([
    ['bf16', site(0, 'bf16')],
    ['a norm', site(1, 'f32', { site: 'norm', kind: 'dense' })],
    ['keys and values', site(2, 'f32', { site: 'attention', kind: 'dense' })],
    ['virtual tokens', site(3, 'f32', { site: 'virtual', kind: 'dense' })],
  ])('leaves %s', async (_, given) => {
    expect(await roundedSite(given)).toBe(given);
  });
});
