// The places of a sparse matrix's numbers: looked at on the device beside the product that follows them.
#pragma once
#include "cuda/cuda_context.h"
#include "kernels/sparse/sparse_checks.h"
#include "kernels/sparse/sparse_tile.cuh"

namespace heddle {

// What the CPU refuses, in its words.
struct PlaceRefusals {
  Failure ends, falls, beyond;
};
#define HEDDLE_PLACE_REFUSALS(context, op)                                                                                     \
  PlaceRefusals {                                                                                                              \
    (context).failure("[" op "] starts goes from {0} to {1}: expected 0 to {2}, the number of columns"),                       \
        (context).failure("[" op "] starts[{0}] is {1}: expected at least {2}"),                                               \
        (context).failure("[" op "] columns[{0}] is {1}: expected less than {2}")                                              \
  }

// What turning the matrix round needs to know; null where it stays.
struct FoundPlaces {
  int32_t* rows = nullptr;    // of each number
  int32_t* counts = nullptr;  // [chunks, inputs]: numbers of a chunk in a column; zeros before
  int64_t chunk = 1;          // numbers of a chunk
};

inline Lists<uint16_t> places_of(const TensorView& starts, const TensorView& columns) {
  return {starts.as<int32_t>(), columns.as<uint16_t>(), starts.dims[0] - 1, columns.dims[0] / 2};
}

// Reports what is wrong with places of a matrix of `inputs` columns. Kernels that follow them leave out what is out of range.
Status look_at_places(const char* op, const Lists<uint16_t>& places, int64_t inputs, const PlaceRefusals& refusals, const FoundPlaces& found, const CudaContext& context);

}  // namespace heddle
