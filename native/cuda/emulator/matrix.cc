#include "cuda/emulator/matrix.h"

#include <cstring>

#include "cuda/emulator/block.h"
#include "cuda/emulator/emulated_shared.h"

namespace heddle::emulator {

namespace {

struct Product {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
  float (*widen)(uint16_t);
};

struct MatrixLoad {
  uint32_t* to;
  int count;
  bool transposed;
  SharedAddress row;
};

template <class T>
T& operand(Thread& lane) {
  return *reinterpret_cast<T*>(lane.request.value);
}

float half_of(const Product& product, uint32_t word, int which) { return product.widen(static_cast<uint16_t>(word >> (which * 16))); }

void load_any(uint32_t* to, int count, SharedAddress row, bool transposed) {
  MatrixLoad load{to, count, transposed, row};
  warp_exchange(WarpKind::kLoadMatrix, 0xffffffffu, reinterpret_cast<uint64_t>(&load), count * 2 + transposed, {"ldmatrix", 0});
}

}  // namespace

void multiply_fragments(Thread* lanes) {
  float a[16][16], b[8][16];
  const auto widen = operand<Product>(lanes[0]);
  for (int lane = 0; lane < 32; lane++) {
    const Product& product = operand<Product>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4;
    for (int half = 0; half < 2; half++) {
      for (int part = 0; part < 4; part++) a[group + part % 2 * 8][2 * pair + part / 2 * 8 + half] = half_of(widen, product.a[part], half);
      for (int part = 0; part < 2; part++) b[group][2 * pair + part * 8 + half] = half_of(widen, product.b[part], half);
    }
  }
  for (int lane = 0; lane < 32; lane++) {
    const Product& product = operand<Product>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4;
    for (int part = 0; part < 4; part++) {
      const float* row = a[group + part / 2 * 8];
      const float* column = b[2 * pair + part % 2];
      float sum = product.d[part];
      for (int k = 0; k < 16; k++) sum += row[k] * column[k];
      product.d[part] = sum;
    }
  }
}

void load_fragments(Thread* lanes) {
  uint16_t rows[32][8];
  const int count = operand<MatrixLoad>(lanes[0]).count;
  const bool transposed = operand<MatrixLoad>(lanes[0]).transposed;
  for (int lane = 0; lane < 32; lane++) {
    const MatrixLoad& load = operand<MatrixLoad>(lanes[lane]);
    if (load.count != count || load.transposed != transposed) fail_thread("ldmatrix: lane %d loads other matrices than lane 0", lane);
    if (lane < count * 8) std::memcpy(rows[lane], read_shared(load.row, 16, 16, lanes[lane].index), 16);
  }
  for (int lane = 0; lane < 32; lane++) {
    const MatrixLoad& load = operand<MatrixLoad>(lanes[lane]);
    for (int matrix = 0; matrix < count; matrix++) {
      uint16_t pair[2];
      for (int i = 0; i < 2; i++)
        pair[i] = transposed ? rows[matrix * 8 + 2 * (lane % 4) + i][lane / 4] : rows[matrix * 8 + lane / 4][2 * (lane % 4) + i];
      load.to[matrix] = static_cast<uint32_t>(pair[0]) | static_cast<uint32_t>(pair[1]) << 16;
    }
  }
}

void load_matrix(uint32_t* to, int count, SharedAddress row) { load_any(to, count, row, false); }
void load_matrix_transposed(uint32_t* to, int count, SharedAddress row) { load_any(to, count, row, true); }

void multiply_matrix(float* d, const uint32_t* a, const uint32_t* b, float (*widen)(uint16_t)) {
  Product product{d, a, b, widen};
  warp_exchange(WarpKind::kMma, 0xffffffffu, reinterpret_cast<uint64_t>(&product), 0, {"mma", 0});
}

}  // namespace heddle::emulator
