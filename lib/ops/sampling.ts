import type { Dimension } from '../runtime/shape.js';

import { apply, expectDType, expectRank, expectSameDimension, expectShape, type Inputs, optionsOf, type Rules } from './op_rule.js';

/** `tops` is the width of top_tokens: not an operand, so the caller says it. */
export function sampleRule(tops: Dimension): Rules<'sample'>['sample'] {
  return {
    infer: ({ logits, positions, controls, integers, history, historyState, biasTokens, biasValues }) => {
      for (const [name, tensor] of Object.entries({ logits, controls, biasValues })) expectDType('sample', name, tensor, 'f32');
      for (const [name, tensor] of Object.entries({ positions, integers, history, historyState, biasTokens }))
        expectDType('sample', name, tensor, 'i32');
      expectRank('sample', 'logits', logits, 2);
      const rows = logits.shape[0] as Dimension;
      expectShape('sample', 'positions', positions, [rows], 'one per row of logits');
      expectShape('sample', 'controls', controls, [rows, 8], 'eight per row of logits');
      expectShape('sample', 'integers', integers, [rows, 8], 'eight per row of logits');
      expectSameDimension('sample', { name: 'history', tensor: history, axis: 0 }, { name: 'historyState', tensor: historyState, axis: 0 });
      expectShape('sample', 'biasValues', biasValues, biasTokens.shape, 'the shape of biasTokens');
      return {
        token: { dtype: 'i32', shape: [rows] },
        logprob: { dtype: 'f32', shape: [rows] },
        topTokens: { dtype: 'i32', shape: [rows, tops] },
        topLogprobs: { dtype: 'f32', shape: [rows, tops] },
      };
    },
  };
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const samplingRules: Rules<'sample' | 'advance'> = {
  sample: sampleRule(0),
  advance: {
    infer: ({ token, positions, integers, history, historyState, stopTokens }) => {
      for (const [name, tensor] of Object.entries({ token, positions, integers, history, historyState, stopTokens }))
        expectDType('advance', name, tensor, 'i32');
      expectShape('advance', 'positions', positions, token.shape, 'the shape of token');
      expectRank('advance', 'stopTokens', stopTokens, 2);
      const rows = { dtype: 'i32', shape: token.shape } as const;
      return { nextToken: rows, nextPosition: rows, state: rows, running: { dtype: 'i32', shape: [1] } };
    },
  },
};

/** Draws one token per row; every control is a tensor, so that requests with different settings share a step. Columns: sampling_layout.h. */
export const sample = (inputs: Inputs<'sample'>, options: { tops: Dimension }) =>
  apply('sample', sampleRule(optionsOf('sample', options, { tops: undefined }).tops), inputs, {});

/** Appends the drawn tokens to their histories and tells which requests go on. */
export const advance = (inputs: Inputs<'advance'>) => apply('advance', samplingRules.advance, inputs, {});
