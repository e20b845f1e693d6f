import type { OpName } from '../generated/op_table.js';
import { attentionRules } from './attention.js';
import { elementwiseRules } from './elementwise.js';
import { embeddingRules } from './embedding.js';
import { groupedLoraRules } from './grouped_lora.js';
import { groupedLoraGradientRules } from './grouped_lora_grad.js';
import { layoutRules } from './layout.js';
import { linearGradRule, linearRule } from './linear.js';
import { mapRules } from './map.js';
import { matmulRules } from './matmul.js';
import { normRules } from './norm.js';
import type { Rules } from './op_rule.js';
import { optimiserRules } from './optimiser.js';
import { reduceRules } from './reduce.js';
import { ropeRules } from './rope.js';
import { samplingRules } from './sampling.js';
import { selfAttentionRules } from './self_attention.js';
import { softmaxRules } from './softmax.js';
import { sparseLinearGradXRule, sparseRules } from './sparse.js';

export * from './adapter_routing.js';
export * from './attention.js';
export * from './elementwise.js';
export * from './embedding.js';
export * from './grouped_lora.js';
export * from './grouped_lora_grad.js';
export * from './layout.js';
export * from './linear.js';
export * from './map.js';
export * from './matmul.js';
export * from './norm.js';
export * from './optimiser.js';
export * from './reduce.js';
export * from './rope.js';
export * from './sampling.js';
export * from './self_attention.js';
export * from './softmax.js';
export * from './sparse.js';

/** A declared op without a rule is a type error here. `linear`, `linear_grad`, `sample` and `sparse_linear_grad_x` take part of their result's shape from options. */
export const opRules: Rules<OpName> = {
  ...attentionRules,
  ...elementwiseRules,
  ...embeddingRules,
  ...groupedLoraRules,
  ...layoutRules,
  ...groupedLoraGradientRules,
  linear: linearRule(0),
  linear_grad: linearGradRule(0),
  ...mapRules,
  ...matmulRules,
  ...normRules,
  ...optimiserRules,
  ...reduceRules,
  ...ropeRules,
  ...samplingRules,
  ...selfAttentionRules,
  ...softmaxRules,
  ...sparseRules,
  sparse_linear_grad_x: sparseLinearGradXRule(0),
};
