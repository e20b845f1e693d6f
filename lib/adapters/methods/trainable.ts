import { OptionError } from '../../errors.js';
import { didYouMean } from '../../runtime/suggest.js';
import type { TrainableMethod } from '../trainable_method.js';
import { bitfitTraining } from './bitfit_training.js';
import { bottleneckTraining } from './bottleneck_training.js';
import { doraTraining } from './dora_training.js';
import { dyloraTraining } from './dylora_training.js';
import { ia3Training } from './ia3_training.js';
import { lnTuningTraining } from './ln_tuning_training.js';
import { loraFaTraining } from './lora_fa_training.js';
import { loraSbTraining } from './lora_sb_training.js';
import { loraTraining } from './lora_training.js';
import { loraXsTraining } from './lora_xs_training.js';
import { shiraTraining } from './shira_training.js';
import { trainableTokensTraining } from './trainable_tokens_training.js';
import { prefixTuningTraining, promptTuningTraining } from './virtual_token_training.js';

/** Every method that can be trained, by the name that users give. */
export const trainableMethods: ReadonlyMap<string, TrainableMethod> = new Map(
  [
    loraTraining,
    loraFaTraining,
    doraTraining,
    dyloraTraining,
    loraXsTraining,
    loraSbTraining,
    ia3Training,
    bitfitTraining,
    lnTuningTraining,
    trainableTokensTraining,
    shiraTraining,
    promptTuningTraining,
    prefixTuningTraining,
    bottleneckTraining,
  ].map((method) => [method.name, method]),
);

/** The method of this name. Throws OptionError that lists all of them. */
export function trainableMethod(name: string): TrainableMethod {
  const method = trainableMethods.get(name);
  if (method !== undefined) return method;
  const names = [...trainableMethods.keys()];
  throw new OptionError(`method is '${name}': expected ${names.join(', ')}.${didYouMean(name, names)}`, {
    option: 'method',
    actual: name,
    expected: names,
  });
}
