// How activations are cut into blocks of rows: memory asked for at the largest extents must do for every call.
#include "kernels/linear/linear_rounded.h"

#include "check.h"

using heddle::RoundedBlock;

TEST("a block takes no more than was asked for at larger extents") {
  const int64_t rows[] = {1, 31, 128, 129, 2048, 100'000, 3'000'000}, widths[] = {0, 1, 64, 65, 4096, 14'336, 300'000, 1'000'001};
  for (const int terms : {1, 2})
    for (const int64_t most_rows : rows)
      for (const int64_t most_k : widths) {
        const size_t given = RoundedBlock::of(most_rows, most_k, terms).bytes;
        for (const int64_t r : rows)
          for (const int64_t k : widths) {
            if (r > most_rows || k > most_k) continue;
            const RoundedBlock block = RoundedBlock::of(r, k, terms);
            CHECK(block.bytes <= given);
            const size_t used = static_cast<size_t>(block.rows * heddle::rounded_padded(k) * 2 * terms);
            CHECK(block.unscale_bytes + used <= block.bytes);
            CHECK(block.unscale_bytes >= static_cast<size_t>(block.rows) * sizeof(float));
          }
      }
}

TEST("blocks are all rows, or whole tiles of them") {
  CHECK_EQUAL(RoundedBlock::of(2048, 4096, 1).rows, 2048);
  CHECK_EQUAL(RoundedBlock::of(100'000, 4096, 1).rows, 8192);
  CHECK_EQUAL(RoundedBlock::of(100'000, 4097, 2).rows % 128, 0);
  CHECK_EQUAL(RoundedBlock::of(129, 1'000'000, 2).rows, 128);
  CHECK_EQUAL(RoundedBlock::of(0, 64, 1).rows, 0);
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
