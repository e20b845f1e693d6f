import { z } from 'zod';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';

const schema = z.looseObject({ adapter_len: z.number().int().min(1).max(65_536) });

/** Rows that the last layers attend to beside the text, with a softmax and a gate of their own. Zhang et al. (LLaMA-Adapter), https://arxiv.org/abs/2303.16199. */
export const adaptionPrompt: AdapterMethod<{ rows: number }> = {
  peftType: 'ADAPTION_PROMPT',
  sites: ['attention'],
  readConfig: (raw, adapter) => ({ rows: readMethodOptions(schema, raw, adapter).adapter_len }),
  identity: (config) => config,
  split: partNames(['adaption_prompt', 'adaption_gate']),
  describe: () => 'LLaMA-Adapter',
  measure: () => undefined,

  // PEFT takes the gate as it is, where the paper has its hyperbolic tangent.
  read({ rows }, { site }, parts) {
    const { dtype, data } = parts.floats('adaption_prompt', [1, rows, site.inputs]);
    return {
      kind: 'attentionPrompt',
      rows: { dtype, count: rows, width: site.inputs, data },
      gate: parts.values('adaption_gate', [1])[0] as number,
    };
  },
};
