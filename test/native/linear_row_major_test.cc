// The row-major layout that CUDA devices read, against its definition.
#include "kernels/linear/linear_row_major.h"

#include <vector>

#include "check.h"

namespace {

using heddle::DType;

// Element (row, k) of a source whose elements all differ.
template <class Element>
Element element(int64_t row, int64_t k) {
  return static_cast<Element>(1 + row * 131 + k);
}

template <class Element>
void check_layout(DType dtype, int64_t rows, int64_t k, bool transposed, int64_t gap, int64_t first_output) {
  const int64_t stride = (transposed ? rows : k) + gap, lines = transposed ? k : rows, inner = k + k % 2;
  std::vector<Element> source(static_cast<size_t>(lines * stride) + 1, Element(0xee));
  for (int64_t row = 0; row < rows; row++)
    for (int64_t index = 0; index < k; index++) source[static_cast<size_t>(transposed ? index * stride + row : row * stride + index)] = element<Element>(row, index);
  std::vector<Element> result(static_cast<size_t>((first_output + rows + 1) * inner), Element(0xcc));
  heddle::linear_row_major_rows(dtype, source.data(), rows, k, transposed, stride, first_output, result.data());
  for (int64_t row = 0; row < first_output + rows + 1; row++)
    for (int64_t index = 0; index < inner; index++) {
      const bool ours = row >= first_output && row < first_output + rows;
      const Element expected = !ours ? Element(0xcc) : index < k ? element<Element>(row - first_output, index) : Element(0);
      CHECK_EQUAL(result[static_cast<size_t>(row * inner + index)], expected);
    }
}

void check_all(int64_t rows, int64_t k, int64_t gap, int64_t first_output) {
  for (const bool transposed : {false, true}) {
    check_layout<uint32_t>(DType::kF32, rows, k, transposed, gap, first_output);
    check_layout<uint16_t>(DType::kF16, rows, k, transposed, gap, first_output);
    check_layout<uint16_t>(DType::kBF16, rows, k, transposed, gap, first_output);
  }
}

}  // namespace

TEST("even and odd k, with and without gaps between the source's rows") {
  for (const int64_t k : {0, 1, 2, 7, 32, 65})
    for (const int64_t rows : {0, 1, 5, 40})
      for (const int64_t gap : {0, 3}) check_all(rows, k, gap, 0);
}

TEST("outputs after others stay apart from them") { check_all(19, 33, 0, 21); }

TEST("a row takes as many bytes as in panels") {
  CHECK_EQUAL(heddle::linear_row_bytes(DType::kBF16, 7) * 16, heddle::linear_packed_bytes(DType::kBF16, 1, 7));
  CHECK_EQUAL(heddle::linear_row_bytes(DType::kF32, 8) * 32, heddle::linear_packed_bytes(DType::kF32, 17, 8));
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
