// What every backend asks of the operands' shapes, before the data in them is looked at.
#pragma once
#include <algorithm>

#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/adapter_tokens.h"
#include "kernels/grouped_lora/gradient_rows.h"

namespace heddle {

inline Status check_in_place(const char* op, const TensorView& base, const TensorView& over, const char* message) {
  HEDDLE_CHECK(base.data == over.data && base.leading_stride == over.leading_stride, op, message);
  return Status::success();
}

inline Status check_one_site(const char* op, int64_t site, const AdapterPool& pool) {
  HEDDLE_CHECK(site >= 0 && site < pool.sites, op, "site " + std::to_string(site) + " of " + std::to_string(pool.sites));
  return Status::success();
}

inline Status check_ids(const char* op, const TensorView& ids) {
  HEDDLE_CHECK(ids.rank == 1 && ids.dtype == DType::kI32, op, "ids is " + describe(ids) + ": expected i32 [tokens]");
  return Status::success();
}

inline Status check_operands(const char* op, const GroupedLoraGradXArgs& args, AdapterPool* pool) {
  HEDDLE_CHECK(args.dy.rank == 2 && args.dy.dtype == DType::kF32, op, "dy is " + describe(args.dy) + ": expected f32 [tokens, columns]");
  const int64_t tokens = args.dy.dims[0];
  for (const TensorView* view : {&args.base, &args.dx})
    HEDDLE_CHECK(view->rank == 2 && view->dtype == DType::kF32 && view->dims[0] == tokens && view->dims[1] == args.base.dims[1], op,
                 "base is " + describe(args.base) + " and dx " + describe(args.dx) + ": expected f32 [" + std::to_string(tokens) + ", inputs]");
  HEDDLE_TRY(check_in_place(op, args.base, args.dx, "dx does not lie over base"));
  HEDDLE_TRY(read_adapter_pool(op, args.entries, args.rows, args.pool, pool));
  HEDDLE_TRY(check_route_shapes(op, args.index, args.weight, tokens));
  return check_columns_shape(op, args.columns);
}

inline Status check_token_rows(const char* op, const TensorView& x, const TensorView& dy) {
  for (const TensorView* view : {&x, &dy})
    HEDDLE_CHECK(view->rank == 2 && view->dtype == DType::kF32 && view->dims[0] == x.dims[0], op,
                 "x is " + describe(x) + " and dy " + describe(dy) + ": expected f32 [tokens, inputs] and [tokens, columns]");
  return Status::success();
}

inline Status check_operands(const char* op, const GroupedLoraGradFactorsArgs& args, AdapterPool* pool) {
  HEDDLE_TRY(check_token_rows(op, args.x, args.dy));
  HEDDLE_TRY(check_gradients(op, args.gradients, args.accumulated));
  HEDDLE_TRY(read_adapter_pool(op, args.entries, args.rows, args.pool, pool));
  HEDDLE_TRY(check_route_shapes(op, args.index, args.weight, args.x.dims[0]));
  return check_columns_shape(op, args.columns);
}

inline Status check_operands(const char* op, const GroupedLoraGradWeightArgs& args, AdapterPool* pool) {
  HEDDLE_TRY(check_token_rows(op, args.x, args.dy));
  HEDDLE_TRY(read_adapter_pool(op, args.entries, args.rows, args.pool, pool));
  for (const TensorView* view : {&args.base, &args.dweight}) HEDDLE_TRY(check_route_shapes(op, args.index, *view, args.x.dims[0]));
  HEDDLE_CHECK(args.base.data == args.dweight.data, op, "dweight does not lie over base");
  return check_columns_shape(op, args.columns);
}

inline Status check_operands(const char* op, const GroupedEmbeddingGradFactorsArgs& args, AdapterPool* pool) {
  HEDDLE_TRY(check_ids(op, args.ids));
  const int64_t tokens = args.ids.dims[0];
  HEDDLE_CHECK(args.dy.rank == 2 && args.dy.dtype == DType::kF32 && args.dy.dims[0] == tokens, op,
               "dy is " + describe(args.dy) + ": expected f32 [" + std::to_string(tokens) + ", width]");
  HEDDLE_TRY(check_gradients(op, args.gradients, args.accumulated));
  HEDDLE_TRY(read_adapter_pool(op, args.entries, args.rows, args.pool, pool));
  HEDDLE_TRY(check_one_site(op, args.site, *pool));
  return check_route_shapes(op, args.index, args.weight, tokens);
}

inline Status check_operands(const char* op, const GroupedEmbeddingArgs& args, AdapterPool* pool) {
  HEDDLE_TRY(check_ids(op, args.ids));
  const int64_t tokens = args.ids.dims[0];
  for (const TensorView* view : {&args.base, &args.y})
    HEDDLE_CHECK(view->rank == 2 && view->dtype == DType::kF32 && view->dims[0] == tokens && view->dims[1] == args.base.dims[1], op,
                 "base is " + describe(args.base) + " and y " + describe(args.y) + ": expected f32 [tokens, width]");
  HEDDLE_TRY(check_in_place(op, args.base, args.y, "y does not lie over base"));
  HEDDLE_TRY(read_adapter_pool(op, args.entries, args.rows, args.pool, pool));
  HEDDLE_TRY(check_one_site(op, args.site, *pool));
  return check_route_shapes(op, args.index, args.weight, tokens);
}

inline Status check_operands(const char* op, const GroupedNormArgs& args, AdapterPool* pool) {
  HEDDLE_CHECK((args.x.rank == 2 || args.x.rank == 3) && args.x.dtype == DType::kF32, op,
               "x is " + describe(args.x) + ": expected f32 [tokens, width] or [tokens, heads, width]");
  for (const TensorView* view : {&args.base, &args.y})
    HEDDLE_CHECK(view->rank == args.x.rank && view->dtype == DType::kF32 && std::equal(view->dims, view->dims + view->rank, args.x.dims), op,
                 "base is " + describe(args.base) + " and y " + describe(args.y) + ": expected " + describe(args.x));
  HEDDLE_TRY(check_in_place(op, args.base, args.y, "y does not lie over base"));
  HEDDLE_TRY(read_adapter_pool(op, args.entries, args.rows, args.pool, pool));
  HEDDLE_TRY(check_one_site(op, args.site, *pool));
  return check_route_shapes(op, args.index, args.weight, args.x.dims[0]);
}

// Rows of a token that are normalised one by one, with one weight.
inline int64_t norm_heads(const GroupedNormArgs& args) { return args.x.rank == 3 ? args.x.dims[1] : 1; }

inline Status check_operands(const char* op, const GroupedPromptArgs& args, AdapterPool* pool) {
  HEDDLE_CHECK(args.q.rank == 3 && args.q.dtype == DType::kF32, op, "q is " + describe(args.q) + ": expected f32 [tokens, heads, width]");
  const int64_t tokens = args.q.dims[0], heads = args.q.dims[1], width = args.q.dims[2];
  for (const TensorView* view : {&args.base, &args.y})
    HEDDLE_CHECK(view->rank == 2 && view->dtype == DType::kF32 && view->dims[0] == tokens && view->dims[1] == heads * width, op,
                 "base is " + describe(args.base) + " and y " + describe(args.y) + ": expected f32 [tokens, heads * width]");
  HEDDLE_TRY(check_in_place(op, args.base, args.y, "y does not lie over base"));
  HEDDLE_CHECK(args.key_heads >= 1 && heads % args.key_heads == 0, op,
               std::to_string(heads) + " heads cannot share " + std::to_string(args.key_heads) + " key heads equally");
  HEDDLE_TRY(read_adapter_pool(op, args.entries, args.rows, args.pool, pool));
  HEDDLE_TRY(check_one_site(op, args.site, *pool));
  return check_route_shapes(op, args.index, args.weight, tokens);
}

}  // namespace heddle
