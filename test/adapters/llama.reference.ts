// The fixture's Llama with an adapter, in float64, written from the formulas: what the parts of an adapter must amount to.
import type { AdapterParts, SiteParts, SiteShape } from '../../lib/adapters/method.ts';
import { toFloat32 } from '../../lib/adapters/rows.ts';
import type { MemoryTensors } from './memory_tensors.ts';

const size = { hidden: 48, inner: 88, heads: 4, keyHeads: 2, width: 12, vocabulary: 256, layers: 2, eps: 1e-6, base: 10_000 };

/** Sites of models/llama in any order; `number` counts them. */
export function llamaSites(): SiteShape[] {
  const { hidden, inner, heads, keyHeads, width, vocabulary } = size;
  const sites: Omit<SiteShape, 'number'>[] = [];
  const add = (path: string, kind: SiteShape['kind'], inputs: number, outputs: number) =>
    sites.push({ path, kind, inputs, outputs, weight: `${path}.weight`, transposed: false, bias: false });
  add('model.embed_tokens', 'embedding', vocabulary, hidden);
  add('virtual_tokens', 'virtual', hidden, hidden);
  for (let layer = 0; layer < size.layers; layer++) {
    const path = `model.layers.${layer}`;
    add(`${path}.input_layernorm`, 'norm', hidden, hidden);
    add(`${path}.self_attn.q_proj`, 'linear', hidden, heads * width);
    add(`${path}.self_attn.k_proj`, 'linear', hidden, keyHeads * width);
    add(`${path}.self_attn.v_proj`, 'linear', hidden, keyHeads * width);
    add(`${path}.self_attn`, 'attention', hidden, heads * width);
    add(`${path}.self_attn.o_proj`, 'linear', heads * width, hidden);
    add(`${path}.post_attention_layernorm`, 'norm', hidden, hidden);
    add(`${path}.mlp.gate_proj`, 'linear', hidden, inner);
    add(`${path}.mlp.up_proj`, 'linear', hidden, inner);
    add(`${path}.mlp.down_proj`, 'linear', inner, hidden);
  }
  add('model.norm', 'norm', hidden, hidden);
  add('lm_head', 'linear', hidden, vocabulary);
  return sites.map((site, number) => ({ ...site, number }));
}

type Vector = Float64Array;

const rowsOf = (block: SiteParts['a']): Vector[] => {
  const data = Float64Array.from(toFloat32(block.dtype, block.data));
  return Array.from({ length: block.count }, (_, i) => data.subarray(i * block.width, (i + 1) * block.width));
};

const dot = (a: Vector, b: Vector): number => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);

/** What a site's output is with an adapter, given the base's (which has no bias here). */
export function applyParts(parts: SiteParts | undefined, base: Vector, x: Vector | number): Vector {
  if (parts === undefined) return base;
  const a = rowsOf(parts.a);
  const shift = (n: number): number => parts.shift?.[n] ?? 0;
  if (parts.kind === 'dense') {
    if (parts.site === 'embedding') return (a[x as number] as Vector).slice();
    return Float64Array.from(a, (row, n) => dot(row, x as Vector) + shift(n));
  }
  const v = a.map((row) => parts.scale * (typeof x === 'number' ? (row[x] as number) : dot(row, x)));
  const b = rowsOf(parts.bT as SiteParts['a']);
  return base.map((y, n) => {
    const product = b.reduce((sum, row, j) => sum + (v[j] as number) * (row[n] as number), 0);
    return (parts.gain?.[n] ?? 1) * (y + product) + shift(n);
  });
}

/** What models/llama keeps of each position. */
export const llamaCache = { layers: size.layers, keyHeads: size.keyHeads, width: size.width };

/** Logits of every position of one prompt, virtual tokens of the adapter left out. `kept` receives each layer's keys and values. */
export function llamaLogits(
  weights: MemoryTensors,
  ids: readonly number[],
  adapter?: AdapterParts,
  kept: { keys: Vector[][]; values: Vector[][] } = { keys: [], values: [] },
): Vector[] {
  const { hidden, heads, keyHeads, width, layers, eps, base } = size;
  const matrices = new Map<string, Vector[]>();
  const matrix = (path: string): Vector[] => {
    let rows = matrices.get(path);
    if (rows === undefined) {
      const values = weights.values(`${path}.weight`);
      const columns = weights.stored(`${path}.weight`).shape.at(-1) as number;
      rows = Array.from({ length: values.length / columns }, (_, i) => values.subarray(i * columns, (i + 1) * columns));
      matrices.set(path, rows);
    }
    return rows;
  };
  const linear = (path: string, x: Vector): Vector =>
    applyParts(
      adapter?.sites.get(path),
      Float64Array.from(matrix(path), (row) => dot(row, x)),
      x,
    );
  const norm = (path: string, x: Vector): Vector => {
    const own = adapter?.sites.get(path);
    const weight = own ? (rowsOf(own.a)[0] as Vector) : (matrix(path)[0] as Vector);
    const factor = 1 / Math.sqrt(dot(x, x) / hidden + eps);
    return x.map((v, n) => v * factor * (weight[n] as number));
  };
  const rotate = (x: Vector, position: number): Vector =>
    x.map((v, n) => {
      const channel = n % width;
      const half = width / 2;
      const angle = position / base ** ((2 * (channel % half)) / width);
      const partner = channel < half ? -(x[n + half] as number) : (x[n - half] as number);
      return v * Math.cos(angle) + partner * Math.sin(angle);
    });
  const { keys, values } = kept;
  for (let layer = 0; layer < layers; layer++) {
    const split = (block: Float32Array | undefined): Vector[] =>
      Array.from({ length: (block?.length ?? 0) / (keyHeads * width) }, (_, t) =>
        Float64Array.from((block as Float32Array).subarray(t * keyHeads * width, (t + 1) * keyHeads * width)),
      );
    keys.push(split(adapter?.prefix?.layers[layer]?.keys));
    values.push(split(adapter?.prefix?.layers[layer]?.values));
  }
  const virtual = adapter?.sites.get('virtual_tokens');
  const given = virtual === undefined ? [] : rowsOf(virtual.a);
  const inputs: (number | Vector)[] = [...given, ...ids];
  const first = adapter?.prefix?.tokens ?? 0;
  const all = inputs.map((input, at) => {
    const position = first + at;
    let x =
      typeof input === 'number'
        ? applyParts(adapter?.sites.get('model.embed_tokens'), (matrix('model.embed_tokens')[input] as Vector).slice(), input)
        : input;
    const add = (delta: Vector): void => {
      x = x.map((v, n) => v + (delta[n] as number));
    };
    for (let layer = 0; layer < layers; layer++) {
      const path = `model.layers.${layer}`;
      const h = norm(`${path}.input_layernorm`, x);
      const q = rotate(linear(`${path}.self_attn.q_proj`, h), position);
      const [k, v] = [keys[layer] as Vector[], values[layer] as Vector[]];
      k.push(rotate(linear(`${path}.self_attn.k_proj`, h), position));
      v.push(linear(`${path}.self_attn.v_proj`, h));
      const attended = new Float64Array(heads * width);
      for (let head = 0; head < heads; head++) {
        const own = Math.floor((head * keyHeads) / heads) * width;
        const mine = q.subarray(head * width, (head + 1) * width);
        const scores = k.map((key) => Math.exp(dot(mine, key.subarray(own, own + width)) / Math.sqrt(width)));
        const total = scores.reduce((sum, s) => sum + s, 0);
        scores.forEach((score, p) => {
          for (let c = 0; c < width; c++)
            attended[head * width + c] = (attended[head * width + c] as number) + (score / total) * ((v[p] as Vector)[own + c] as number);
        });
        // The adapter's own rows, with a softmax of their own.
        const prompt = adapter?.sites.get(`${path}.self_attn`);
        if (prompt === undefined) continue;
        const owned = rowsOf(prompt.a).map((key) => Math.exp(dot(mine, key.subarray(own, own + width)) / Math.sqrt(width)));
        const sum = owned.reduce((all, s) => all + s, 0);
        rowsOf(prompt.bT as SiteParts['a']).forEach((value, p) => {
          const share = (prompt.scale * (owned[p] as number)) / sum;
          for (let c = 0; c < width; c++)
            attended[head * width + c] = (attended[head * width + c] as number) + share * (value[own + c] as number);
        });
      }
      add(linear(`${path}.self_attn.o_proj`, attended));
      const f = norm(`${path}.post_attention_layernorm`, x);
      const gate = linear(`${path}.mlp.gate_proj`, f);
      const up = linear(`${path}.mlp.up_proj`, f);
      add(
        linear(
          `${path}.mlp.down_proj`,
          gate.map((g, n) => (g / (1 + Math.exp(-g))) * (up[n] as number)),
        ),
      );
    }
    return linear('lm_head', norm('model.norm', x));
  });
  return all.slice(given.length);
}
