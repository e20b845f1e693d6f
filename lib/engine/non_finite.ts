import { NonFiniteError } from '../errors.js';
import type { Sequence } from './request.js';

/** What a request fails with whose logits are no numbers; `index`: the token of its text whose probability they were to give. */
export function nonFinite({ model, adapters, promptLength }: Sequence, index: number): NonFiniteError {
  const names = adapters.map(({ adapter }) => adapter.name);
  const beside = names.length === 0 ? '' : ` with adapter ${names.map((name) => `'${name}'`).join(' and ')}`;
  const where = index < promptLength ? `token ${index} of the text` : `token ${index - promptLength} of the answer`;
  return new NonFiniteError(
    `${model}${beside} gave no finite log-probability for ${where}: weights hold NaN or infinity, or a sum overflowed`,
    { model, adapters: names, index },
  );
}
