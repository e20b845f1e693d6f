import type { Tensor } from '../graph/tensor.js';
import { type Activation, activate, add } from '../ops/index.js';
import type { Architecture } from './architecture.js';
import { head } from './parts/decoder.js';

/** GPT-2: learned positions, layer norms, weights stored as [inputs, outputs]. Radford et al., 2019. */
export const gpt2: Architecture = {
  modelType: 'gpt2',
  *build(b, c) {
    const { hiddenSize: width, heads, headWidth } = c;
    // Checkpoints saved from the bare model lack the prefix; adapters always name modules with it.
    const stored = b.weights.has('transformer.wte.weight') ? 'transformer.' : '';
    const linear = (x: Tensor, path: string, outputs: number): Tensor => b.linear(x, path, outputs, { bias: true, transposed: true });
    let x = add(
      b.virtualTokens(b.embed(`${stored}wte`, b.step.tokens, c.vocabularySize, width, { tied: c.tiedEmbeddings })),
      b.lookUp(`${stored}wpe.weight`, b.step.positions, c.maxPositions, width),
    );
    const decoderLayer = (x: Tensor, layer: number): Tensor => {
      const path = `${stored}h.${layer}`;
      const qkv = linear(b.layerNorm(x, `${path}.ln_1`, c.normEps), `${path}.attn.c_attn`, 3 * width);
      const [q, k, v] = [0, 1, 2].map((i) => qkv.columns(i * width, (i + 1) * width).reshape([x.shape[0] as number, heads, headWidth])) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const attended = b.attend(q, k, v, layer, { scale: headWidth ** -0.5 });
      const middle = add(x, linear(attended, `${path}.attn.c_proj`, width));
      const inner = linear(b.layerNorm(middle, `${path}.ln_2`, c.normEps), `${path}.mlp.c_fc`, c.intermediateSize);
      return add(middle, linear(activate(inner, c.activation as Activation), `${path}.mlp.c_proj`, width));
    };
    for (let layer = 0; layer < c.layers; layer++) {
      x = b.layer(layer, () => decoderLayer(x, layer));
      yield;
    }
    return head(b, c, b.layerNorm(b.selectRows(x), `${stored}ln_f`, c.normEps), `${stored}wte.weight`);
  },
};
