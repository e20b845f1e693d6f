// Definitions of self_attention and its gradient in float64: every score of every token, written out.
import type { Operand, Reference } from './check_op.ts';

type Named<Names extends string> = Record<Names, Operand>;

interface Score {
  key: number;
  /** After the cap, and its derivative by what the cap is given. */
  value: number;
  slope: number;
}

/** Scores of token t's query head h over the keys that it sees, in the order of the sums. */
function scoresOf({ q, k, ranges }: Named<'q' | 'k' | 'ranges'>, attrs: { scale: number; softCap: number }, t: number, h: number): Score[] {
  const [, heads, width] = q.dims as [number, number, number];
  const [, keyHeads] = k.dims as [number, number, number];
  const keyHead = Math.floor(h / (heads / keyHeads));
  const scores: Score[] = [];
  for (const part of [0, 2]) {
    const [begin, end] = [0, 1].map((i) => ranges.values[4 * t + part + i]) as [number, number];
    for (let key = begin; key < end; key++) {
      let dot = 0;
      for (let c = 0; c < width; c++)
        dot += (q.values[(t * heads + h) * width + c] as number) * (k.values[(key * keyHeads + keyHead) * width + c] as number);
      dot *= attrs.scale;
      const part = Math.tanh(dot / attrs.softCap);
      scores.push(attrs.softCap > 0 ? { key, value: attrs.softCap * part, slope: 1 - part * part } : { key, value: dot, slope: 1 });
    }
  }
  return scores;
}

export const selfAttentionReference: Reference = (inputs, attrs) => {
  const { q, k, v, ranges } = inputs as Named<'q' | 'k' | 'v' | 'ranges'>;
  const [tokens, heads, width] = q.dims as [number, number, number];
  const keyHeads = k.dims[1] as number;
  const y = new Float64Array(tokens * heads * width);
  const lse = new Float64Array(tokens * heads);
  for (let t = 0; t < tokens; t++)
    for (let h = 0; h < heads; h++) {
      const scores = scoresOf({ q, k, ranges }, attrs as { scale: number; softCap: number }, t, h);
      const keyHead = Math.floor(h / (heads / keyHeads));
      const row = t * heads + h;
      const top = scores.reduce((most, { value }) => Math.max(most, value), Number.NEGATIVE_INFINITY);
      const weights = scores.map(({ value }) => Math.exp(value - top));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      lse[row] = scores.length === 0 ? Number.NEGATIVE_INFINITY : top + Math.log(total);
      scores.forEach(({ key }, i) => {
        for (let c = 0; c < width; c++)
          y[row * width + c] =
            (y[row * width + c] as number) +
            ((weights[i] as number) / total) * (v.values[(key * keyHeads + keyHead) * width + c] as number);
      });
    }
  return { y, lse };
};

export const selfAttentionGradReference: Reference = (inputs, attrs) => {
  const { q, k, v, ranges, y, lse, dy } = inputs as Named<'q' | 'k' | 'v' | 'ranges' | 'y' | 'lse' | 'dy'>;
  const [tokens, heads, width] = q.dims as [number, number, number];
  const keyHeads = k.dims[1] as number;
  const { scale, softCap } = attrs as { scale: number; softCap: number };
  const { dlse } = inputs;
  const dq = new Float64Array(q.values.length);
  const dk = new Float64Array(k.values.length);
  const dv = new Float64Array(k.values.length);
  const add = (to: Float64Array, at: number, x: number) => (to[at] = (to[at] as number) + x);
  for (let t = 0; t < tokens; t++)
    for (let h = 0; h < heads; h++) {
      const from = (t * heads + h) * width;
      let delta = 0;
      for (let c = 0; c < width; c++) delta += (dy.values[from + c] as number) * (y.values[from + c] as number);
      for (const { key, value, slope } of scoresOf({ q, k, ranges }, { scale, softCap }, t, h)) {
        const at = (key * keyHeads + Math.floor(h / (heads / keyHeads))) * width;
        const weight = Math.exp(value - (lse.values[t * heads + h] as number));
        let product = 0;
        for (let c = 0; c < width; c++) product += (dy.values[from + c] as number) * (v.values[at + c] as number);
        const ds = weight * (product - delta + (dlse?.values[t * heads + h] ?? 0)) * slope * scale;
        for (let c = 0; c < width; c++) {
          add(dv, at + c, weight * (dy.values[from + c] as number));
          add(dq, from + c, ds * (k.values[at + c] as number));
          add(dk, at + c, ds * (q.values[from + c] as number));
        }
      }
    }
  return { dq, dk, dv };
};

export const seenLikeReference: Reference = (inputs, _attrs, outputs) => {
  const { ranges } = inputs as Named<'ranges'>;
  const [batch = 0, rows = 0, keys = 0] = outputs.y ?? [];
  const tokens = ranges.dims[0] as number;
  const range = (row: number, i: number): number => ranges.values[4 * (row % tokens) + i] as number;
  const y = Array.from({ length: batch * rows * keys }, (_, i) => {
    const [row, key] = [Math.floor(i / keys) % rows, i % keys];
    return (key >= range(row, 0) && key < range(row, 1)) || (key >= range(row, 2) && key < range(row, 3)) ? 1 : 0;
  });
  return { y };
};
