import type { AdapterMethod } from '../method.js';
import { adalora } from './adalora.js';
import { adaptionPrompt } from './adaption_prompt.js';
import { boft } from './boft.js';
import { bottleneck } from './bottleneck.js';
import { c3a } from './c3a.js';
import { delora } from './delora.js';
import { fourierft } from './fourierft.js';
import { gralora } from './gralora.js';
import { hira } from './hira.js';
import { hra } from './hra.js';
import { ia3 } from './ia3.js';
import { lnTuning } from './ln_tuning.js';
import { loha } from './loha.js';
import { lokr } from './lokr.js';
import { lora } from './lora.js';
import { miss } from './miss.js';
import { oft } from './oft.js';
import { prefixTuning } from './prefix_tuning.js';
import { promptTuning, pTuning } from './prompt_tuning.js';
import { randlora } from './randlora.js';
import { road } from './road.js';
import { shira } from './shira.js';
import { trainableTokens } from './trainable_tokens.js';
import { vblora } from './vblora.js';
import { vera } from './vera.js';
import { waveft } from './waveft.js';

// Configurations differ in type; a method only ever gets its own back.
const all = [
  lora,
  adalora,
  adaptionPrompt,
  boft,
  bottleneck,
  c3a,
  delora,
  fourierft,
  gralora,
  hira,
  hra,
  ia3,
  lnTuning,
  loha,
  lokr,
  miss,
  oft,
  prefixTuning,
  promptTuning,
  pTuning,
  randlora,
  road,
  shira,
  trainableTokens,
  vblora,
  vera,
  waveft,
] as unknown as readonly AdapterMethod[];

/** Every method, by `peft_type`. */
export const methods: ReadonlyMap<string, AdapterMethod> = new Map(all.map((method) => [method.peftType, method]));
