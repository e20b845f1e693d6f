// Operands and options of the kernel benches.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/tensor_view.h"

namespace heddle::bench {

// Numbers between 2^-3 and 2^-2 whatever the dtype: 0x3e80 is one in bf16, 0x3200 in f16.
inline void fill(DType dtype, std::byte* memory, size_t bytes) {
  uint32_t state = 12345;
  for (size_t at = 0; at < bytes; at += 4) {
    state = state * 1664525u + 1013904223u;
    const uint32_t sign = state & 0x80008000u, fraction = (state >> 9) & 0x007f007fu;
    const uint32_t word = (dtype == DType::kF16 ? 0x32003200u : 0x3e003e00u) | sign | fraction;
    std::memcpy(memory + at, &word, 4);
  }
}

inline TensorView view(void* data, DType dtype, std::initializer_list<int64_t> dims) {
  TensorView tensor;
  tensor.data = data;
  tensor.dtype = dtype;
  for (int64_t dim : dims) tensor.dims[tensor.rank++] = dim;
  tensor.leading_stride = tensor.inner_elements();
  return tensor;
}

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

inline std::vector<int64_t> numbers(const std::string& text, char separator = ',') {
  std::vector<int64_t> values;
  for (const std::string& part : split(text, separator)) values.push_back(std::atoll(part.c_str()));
  return values;
}

}  // namespace heddle::bench
