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
#include "generated/reduce_ops.h"
#include "generated/rope_ops.h"
#include "generated/sampling_ops.h"
#include "generated/self_attention_ops.h"
#include "generated/softmax_ops.h"

namespace heddle {

enum class Op : uint16_t {
  kAccumulate,
  kActivate,
  kAdd,
  kAddBias,
  kAddRmsNorm,
  kAdvance,
  kArgmax,
  kAttention,
  kConcatColumns,
  kCopy,
  kEmbedding,
  kGate,
  kGatherRows,
  kGroupedEmbedding,
  kGroupedLora,
  kGroupedNorm,
  kKvWrite,
  kLayerNorm,
  kLinear,
  kLinearGrad,
  kLogSoftmax,
  kMul,
  kReduce,
  kRmsNorm,
  kRope,
  kRopeTable,
  kSample,
  kScale,
  kSelfAttention,
  kSelfAttentionGrad,
  kSoftCap,
  kSoftmax,
  kTokenLogprob,
  kZerosLike,
  kCount
};

}  // namespace heddle
