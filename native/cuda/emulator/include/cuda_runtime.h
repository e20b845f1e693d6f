// Stands in for CUDA's header when kernels are compiled for the host (HEDDLE_CUDA_EMULATOR): the same names, run by the emulator.
#pragma once
#include "cuda/emulator/emulated_device.h"
#include "cuda/emulator/emulated_runtime.h"
