// The rotation of one pair of channels on the device: one expression for every kernel that rotates, so that bits agree.
#pragma once
#include "cuda/vocabulary.cuh"

namespace heddle {

__device__ __forceinline__ float rotated_left(float left, float right, float cosine, float sine) { return fmaf(left, cosine, -(right * sine)); }
__device__ __forceinline__ float rotated_right(float left, float right, float cosine, float sine) { return fmaf(left, sine, right * cosine); }

}  // namespace heddle
