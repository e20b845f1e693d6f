import { z } from 'zod';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions, refuseOption } from '../method_options.js';
import { partNames } from '../part_names.js';
import { blockOf } from '../rows.js';
import { expectAtLeast } from '../tensor_shape.js';

const schema = z.looseObject({ save_projection: z.boolean().nullish() });

/** Two random matrices that all modules share, and two trained vectors each: W + diag(b) B diag(d) A. Kopiczko et al., https://arxiv.org/abs/2310.11454. */
export const vera: AdapterMethod = {
  peftType: 'VERA',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const { save_projection: saved } = readMethodOptions(schema, raw, adapter);
    // The random matrices are as large as the largest module that was ever targeted, which the file does not tell.
    if (saved === false)
      refuseOption(adapter, 'save_projection', saved, 'the file lacks vera_A and vera_B. Save it with save_projection set to true');
    return {};
  },

  identity: () => undefined,
  split: partNames(['vera_lambda_b', 'vera_lambda_d'], ['vera_A', 'vera_B']),
  describe: () => 'VeRA',

  measure(_config, _module, shapes) {
    const rank = shapes.get('vera_lambda_d')?.[0];
    return rank === undefined ? undefined : { rank, scale: 1 };
  },

  read(_, request, parts) {
    const { inputs, outputs } = request.site;
    const [rank = 0, widest = 0] = parts.shape('vera_A');
    const [tallest = 0] = parts.shape('vera_B');
    const a = parts.values('vera_A');
    const b = parts.values('vera_B', [tallest, rank]);
    expectAtLeast(parts.floats('vera_A'), [rank, inputs], request);
    expectAtLeast(parts.floats('vera_B'), [outputs, rank], request);
    const d = parts.values('vera_lambda_d', [rank]);
    const scale = parts.values('vera_lambda_b', [outputs]);
    const rowsOfA = new Float64Array(rank * inputs);
    const rowsOfB = new Float64Array(rank * outputs);
    for (let j = 0; j < rank; j++) {
      for (let i = 0; i < inputs; i++) rowsOfA[j * inputs + i] = (d[j] as number) * (a[j * widest + i] as number);
      for (let n = 0; n < outputs; n++) rowsOfB[j * outputs + n] = (scale[n] as number) * (b[n * rank + j] as number);
    }
    return { kind: 'lowRank', a: blockOf(rowsOfA, rank, inputs), bT: blockOf(rowsOfB, rank, outputs), scale: 1 };
  },
};
