import type { AdapterMethod } from '../method.js';
import { lora } from './lora.js';

/** Every method, by `peft_type`. */
export const methods: ReadonlyMap<string, AdapterMethod> = new Map([lora as AdapterMethod].map((method) => [method.peftType, method]));
