// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstdint>

#include "generated/attention_ops.h"
#include "generated/elementwise_ops.h"
#include "generated/embedding_ops.h"
#include "generated/grouped_lora_ops.h"
#include "generated/layout_ops.h"
#include "generated/linear_ops.h"
#include "generated/norm_ops.h"
#include "generated/optimiser_ops.h"
#include "generated/reduce_ops.h"
#include "generated/rope_ops.h"
#include "generated/sampling_ops.h"
#include "generated/softmax_ops.h"

namespace heddle {

enum class Op : uint16_t {
  kAccumulate,
  kActivate,
  kAdamw,
  kAdd,
  kAddBias,
  kAddRmsNorm,
  kAdvance,
  kArgmax,
  kAttention,
  kClipFactor,
  kConcatColumns,
  kCopy,
  kEmbedding,
  kGate,
  kGatherRows,
  kGroupedEmbedding,
  kGroupedLora,
  kGroupedNorm,
  kInverseRms,
  kKvWrite,
  kLayerNorm,
  kLayerNormGrad,
  kLinear,
  kLogSoftmax,
  kLogSoftmaxGrad,
  kMul,
  kOneHotLike,
  kReduce,
  kRmsNorm,
  kRmsNormGrad,
  kRope,
  kRopeTable,
  kSample,
  kScale,
  kSgd,
  kSoftCap,
  kSoftmax,
  kSoftmaxGrad,
  kSumSquares,
  kTokenLogprob,
  kTokenLogprobGrad,
  kZerosLike,
  kCount
};

}  // namespace heddle
