import type { ModelConfig } from '../checkpoint/model_config.js';
import type { Tensor } from '../graph/tensor.js';
import type { Slices } from '../runtime/slices.js';
import type { ModelBuilder } from './model_builder.js';

/** A model family: how its configuration becomes a graph. One file each. */
export interface Architecture {
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** Logits f32 [rows, vocabulary] of the step's wanted rows. Yields after every layer. */
  build(builder: ModelBuilder, config: ModelConfig): Slices<Tensor>;
}
