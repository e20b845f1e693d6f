// In which order blocks take the tiles of a product: blocks that run at the same time share rows and columns in the second
// level cache.
#pragma once
#include <cstdint>

#include "cuda/vocabulary.cuh"

namespace heddle {

struct TilePlace {
  int64_t down, across;
};

// Groups of 8 tiles of rows go across together.
__device__ inline TilePlace tile_place(int64_t index, int64_t tiles_down, int64_t tiles_across) {
  constexpr int64_t kGroup = 8;
  const int64_t group = index / (kGroup * tiles_across), within = index % (kGroup * tiles_across);
  const int64_t left = tiles_down - group * kGroup;
  const int64_t height = left < kGroup ? left : kGroup;
  return {group * kGroup + within % height, within / height};
}

}  // namespace heddle
