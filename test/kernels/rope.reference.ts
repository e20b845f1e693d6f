// Definitions of rope_table and rope in float64.
import type { Operand, Reference } from './check_op.ts';

export const ropeTableReference: Reference = (inputs, attrs) => {
  const { positions, frequencies, longFrequencies, lengths } = inputs as { positions: Operand; frequencies: Operand } & Record<
    string,
    Operand | undefined
  >;
  const { scale, longScale, dynamicFactor, base, originalLength } = attrs as Record<
    'scale' | 'longScale' | 'dynamicFactor' | 'base' | 'originalLength',
    number
  >;
  const half = frequencies.values.length;
  const rotary = 2 * half;
  const table: number[] = [];
  positions.values.forEach((p, t) => {
    const position = Math.max(0, p);
    const length = Math.max(position + 1, lengths?.values[t] ?? 0);
    let used = frequencies.values;
    let factor = Math.fround(scale);
    if (length > originalLength && dynamicFactor > 0) {
      const stretch = (dynamicFactor * length) / originalLength - (dynamicFactor - 1);
      const changed = base * stretch ** (rotary / (rotary - 2));
      used = used.map((_, i) => changed ** ((-2 * i) / rotary));
    } else if (length > originalLength && longFrequencies !== undefined) {
      used = longFrequencies.values;
      factor = Math.fround(longScale);
    }
    for (const f of used) table.push(factor * Math.cos(position * f));
    for (const f of used) table.push(factor * Math.sin(position * f));
  });
  return { table };
};

export const ropeReference: Reference = (inputs, attrs) => {
  const { x, table } = inputs as Record<'x' | 'table', Operand>;
  const [tokens, heads, width] = x.dims as [number, number, number];
  const rotary = table.dims[1] as number;
  const half = rotary / 2;
  const y = Float64Array.from(x.values);
  for (let t = 0; t < tokens; t++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < half; i++) {
        const row = (t * heads + h) * width;
        const [a, b] = attrs.interleaved ? [row + 2 * i, row + 2 * i + 1] : [row + i, row + half + i];
        const cosine = table.values[t * rotary + i] as number;
        const sine = (attrs.inverse ? -1 : 1) * (table.values[t * rotary + half + i] as number);
        const [first, second] = [x.values[a] as number, x.values[b] as number];
        y[a] = first * cosine - second * sine;
        y[b] = second * cosine + first * sine;
      }
  return { y };
};
