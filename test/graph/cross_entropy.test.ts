// The gradient of the cross-entropy of a large vocabulary: right, and in the memory of the logits.
import { describe, expect, it } from 'vitest';
import { lower } from '../../lib/graph/compile.js';
import { compile, gradient, graph, ops, type Tensor } from '../../lib/index.js';
import { placeInPlace } from '../../lib/plan/in_place.js';
import { layOutArena } from '../../lib/plan/memory.js';
import { atOnce } from '../../lib/runtime/slices.js';
import { randomNormal } from '../kernels/numbers.js';

const [tokens, vocabulary] = [48, 4099];

/** Logits that are computed from x, and the gradient of the sum of weighted log probabilities with respect to them. */
function build() {
  const g = graph();
  const x = g.input('x', 'f32', ['tokens', vocabulary]);
  const logits = ops.scale(x, 2);
  const logprob = ops.tokenLogprob(logits, g.input('target', 'i32', ['tokens']));
  const [dlogits] = gradient(logprob, [logits], { upstream: g.input('weight', 'f32', ['tokens']) }) as [Tensor];
  return { g, logits, logprob, dlogits };
}

describe('cross-entropy', () => {
  it('never holds its full gradient beside the logits', () => {
    const { g, logprob, dlogits } = build();
    const program = lower(g, { outputs: { logprob, sums: ops.reduce(dlogits, 'sum') }, extents: { tokens: { max: tokens } } });
    atOnce(placeInPlace(program));
    expect(program.nodes.map(({ op }) => op)).toEqual(['scale', 'token_logprob', 'token_logprob_grad', 'reduce']);
    const matrix = tokens * vocabulary * 4;
    const { bytes } = atOnce(layOutArena(program));
    // The input, the logits, and vectors.
    expect(bytes).toBeGreaterThanOrEqual(2 * matrix);
    expect(bytes).toBeLessThan(2.01 * matrix);
  });

  it('works on a copy where somebody still needs the logits', async () => {
    const { g, logits, logprob, dlogits } = build();
    const after = ops.tokenLogprob(logits, g.input('other', 'i32', ['tokens']));
    using program = compile(g, { outputs: { logprob, dlogits, after }, extents: { tokens: { max: 3 } } });
    const target = Int32Array.of(0, 7, -1);
    const got = await program.run({
      x: Float32Array.from(randomNormal(3 * vocabulary, 1)),
      target,
      weight: Float32Array.of(1, -2, 3),
      other: target,
    });
    expect(got.after).toEqual(got.logprob);
  });

  it('is softmax less one at the target, times the weight of the token', async () => {
    const { g, logprob, dlogits } = build();
    using program = compile(g, { outputs: { logprob, dlogits }, extents: { tokens: { max: tokens } } });
    const x = Float32Array.from(randomNormal(tokens * vocabulary, 3));
    const target = Int32Array.from({ length: tokens }, (_, t) => (t % 5 === 4 ? -1 : (t * 977) % vocabulary));
    const weight = Float32Array.from(randomNormal(tokens, 4));
    const got = (await program.run({ x, target, weight })) as Record<string, Float32Array>;
    for (let t = 0; t < tokens; t++) {
      const row = Float64Array.from(x.subarray(t * vocabulary, (t + 1) * vocabulary), (v) => 2 * v);
      const sum = row.reduce((total, v) => total + Math.exp(v), 0);
      const at = target[t] as number;
      const expected = row.map((v, i) => (at < 0 ? 0 : (weight[t] as number) * ((i === at ? 1 : 0) - Math.exp(v) / sum)));
      const size = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      const off = expected.reduce(
        (most, v, i) => Math.max(most, Math.abs(v - ((got.dlogits as Float32Array)[t * vocabulary + i] as number))),
        0,
      );
      expect(off).toBeLessThanOrEqual(1e-6 * size);
      expect((got.logprob as Float32Array)[t]).toBeCloseTo(at < 0 ? 0 : (row[at] as number) - Math.log(sum), 4);
    }
  });
});
