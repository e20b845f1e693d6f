// What softmax, its gradients and picks of tokens refuse.
#pragma once
#include <string>

#include "core/check.h"
#include "core/rows.h"

namespace heddle {

inline Status check_softmax(const char* op, const TensorView& x, const TensorView& y) {
  HEDDLE_CHECK(x.rank >= 1 && same_dims(x, y) && x.dtype == DType::kF32 && y.dtype == DType::kF32, op,
               "x is " + describe(x) + " but y is " + describe(y) + ": expected f32 of equal shapes, rank 1 to 4");
  return Status::success();
}

inline Status check_token_logprob(const TensorView& logits, const TensorView& target, const TensorView& logprob) {
  HEDDLE_CHECK(logits.rank == 2 && logits.dtype == DType::kF32 && target.rank == 1 && target.dtype == DType::kI32 && logprob.rank == 1 &&
                   logprob.dtype == DType::kF32 && target.dims[0] == logits.dims[0] && logprob.dims[0] == logits.dims[0],
               "token_logprob",
               "logits is " + describe(logits) + ", target is " + describe(target) + ", logprob is " + describe(logprob) +
                   ": expected f32 [rows, vocabulary], i32 [rows], f32 [rows]");
  return Status::success();
}

inline Status check_like_dx(const char* op, const char* name, const TensorView& tensor, const TensorView& dx) {
  HEDDLE_CHECK(dx.rank >= 1 && same_dims(tensor, dx) && tensor.dtype == DType::kF32 && dx.dtype == DType::kF32, op,
               std::string(name) + " is " + describe(tensor) + " but dx is " + describe(dx) + ": expected f32 of equal shapes, rank 1 to 4");
  return Status::success();
}

inline Status check_target_rows(const char* op, const TensorView& rows, const TensorView& target) {
  HEDDLE_CHECK(rows.rank == 2 && rows.dtype == DType::kF32 && target.rank == 1 && target.dtype == DType::kI32 && target.dims[0] == rows.dims[0], op,
               "the rows are " + describe(rows) + ", target is " + describe(target) + ": expected f32 [rows, columns], i32 [rows]");
  return Status::success();
}

inline Status check_dlogprob(const TensorView& logits, const TensorView& dlogits, const TensorView& dlogprob) {
  HEDDLE_CHECK(logits.data == dlogits.data && same_dims(logits, dlogits), "token_logprob_grad", "dlogits does not lie over logits");
  HEDDLE_CHECK(dlogprob.rank == 1 && dlogprob.dtype == DType::kF32 && dlogprob.dims[0] == logits.dims[0], "token_logprob_grad",
               "dlogprob is " + describe(dlogprob) + ": expected f32 [" + std::to_string(logits.dims[0]) + "]");
  return Status::success();
}

inline Status check_one_hot(const TensorView& x, const TensorView& y) {
  HEDDLE_CHECK(same_dims(x, y), "one_hot_like", "x is " + describe(x) + " but y is " + describe(y) + ": expected equal shapes");
  return Status::success();
}

}  // namespace heddle
