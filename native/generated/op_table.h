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
#include "generated/reduce_ops.h"
#include "generated/rope_ops.h"
#include "generated/sampling_ops.h"
#include "generated/self_attention_ops.h"
#include "generated/softmax_ops.h"

namespace heddle {

enum class Op : uint16_t {
  kAccumulate,
  kActivate,
  kActivateGrad,
  kAdd,
  kAddBias,
  kAddRmsNorm,
  kAdvance,
  kArgmax,
  kAttention,
  kConcatColumns,
  kConcatRows,
  kCopy,
  kDivide,
  kEmbedding,
  kGate,
  kGateGrad,
  kGatherRows,
  kGroupedEmbedding,
  kGroupedLora,
  kGroupedLoraGradFactors,
  kGroupedLoraGradWeight,
  kGroupedLoraGradX,
  kGroupedNorm,
  kKvWrite,
  kLayerNorm,
  kLinear,
  kLinearGrad,
  kLogSoftmax,
  kMap,
  kMatmul,
  kMul,
  kPadRows,
  kReduce,
  kRepeatColumns,
  kRepeatRows,
  kReplaceRows,
  kRmsNorm,
  kRope,
  kRopeTable,
  kSample,
  kScale,
  kScaleColumns,
  kScaleRows,
  kScatterAddRows,
  kSelfAttention,
  kSelfAttentionGrad,
  kSliceRows,
  kSoftCap,
  kSoftCapGrad,
  kSoftmax,
  kSumRows,
  kSwapAxes,
  kTokenLogprob,
  kZerosLike,
  kCount
};

}  // namespace heddle
