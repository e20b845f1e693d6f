// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstdint>

#include "generated/attention_ops.h"
#include "generated/elementwise_ops.h"
#include "generated/embedding_ops.h"
#include "generated/grouped_lora_ops.h"
#include "generated/layout_ops.h"
#include "generated/linear_ops.h"
#include "generated/matmul_ops.h"
#include "generated/norm_ops.h"
#include "generated/optimiser_ops.h"
#include "generated/reduce_ops.h"
#include "generated/rope_ops.h"
#include "generated/sampling_ops.h"
#include "generated/self_attention_ops.h"
#include "generated/softmax_ops.h"
#include "generated/sparse_ops.h"

namespace heddle {

enum class Op : uint16_t {
  kAccumulate,
  kActivate,
  kActivateGrad,
  kAdamw,
  kAdd,
  kAddBias,
  kAddRmsNorm,
  kAdvance,
  kArgmax,
  kAttention,
  kClipFactor,
  kConcatColumns,
  kConcatRows,
  kCopy,
  kDivide,
  kEmbedding,
  kGate,
  kGateGrad,
  kGatherRows,
  kGroupedEmbedding,
  kGroupedEmbeddingGradFactors,
  kGroupedLora,
  kGroupedLoraGradFactors,
  kGroupedLoraGradWeight,
  kGroupedLoraGradX,
  kGroupedNorm,
  kGroupedPrompt,
  kInverseRms,
  kKvWrite,
  kLayerNorm,
  kLayerNormGrad,
  kLinear,
  kLinearGrad,
  kLogSoftmax,
  kLogSoftmaxGrad,
  kMap,
  kMatmul,
  kMul,
  kOneHotLike,
  kPadRows,
  kReduce,
  kRepeatColumns,
  kRepeatRows,
  kReplaceRows,
  kRmsNorm,
  kRmsNormGrad,
  kRope,
  kRopeTable,
  kSample,
  kScale,
  kScaleColumns,
  kScaleRows,
  kScatterAddRows,
  kSeenLike,
  kSelfAttention,
  kSelfAttentionGrad,
  kSgd,
  kSliceRows,
  kSoftCap,
  kSoftCapGrad,
  kSoftmax,
  kSoftmaxGrad,
  kSparseLinear,
  kSparseLinearGradValues,
  kSparseLinearGradX,
  kSumRows,
  kSumSquares,
  kSwapAxes,
  kTokenLogprob,
  kTokenLogprobGrad,
  kZerosLike,
  kCount
};

}  // namespace heddle
