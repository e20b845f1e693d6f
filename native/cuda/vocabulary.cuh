// The device side's vocabulary: everything that a kernel is written with besides plain C++ and CUDA's thread indexes,
// __syncthreads, __syncwarp, shuffles, votes and integer atomics. It compiles for the GPU, and for the host under the emulator.
#pragma once
#include "cuda/elements.cuh"
#include "cuda/load.cuh"
#include "cuda/mma.cuh"
#include "cuda/reduce.cuh"
#include "cuda/shared.cuh"
