import { ModelError } from '../errors.js';
import type { Architecture } from './architecture.js';
import { gemma2 } from './gemma2.js';
import { gemma3 } from './gemma3.js';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

const architectures: readonly Architecture[] = [gemma2, gemma3, gpt2, llama, mistral, phi3, qwen2, qwen3];

/** Model types that can be loaded. */
export const supportedModelTypes: readonly string[] = architectures.map((a) => a.modelType);

/** The architecture of a `model_type`. Throws ModelError that lists the known ones. */
export function architectureOf(modelType: string, model: string): Architecture {
  const found = architectures.find((a) => a.modelType === modelType);
  if (found !== undefined) return found;
  throw new ModelError(`${model}: model_type '${modelType}' is not supported: expected one of ${supportedModelTypes.join(', ')}`, {
    actual: modelType,
    expected: supportedModelTypes,
  });
}
