// The seam to cuBLASLt against libraries that are missing, wrong or failing: no GPU and no cuBLASLt needed.
#include "cuda/cublas_lt_products.h"

#include <string>
#include <vector>

#include "check.h"

namespace {

using heddle::CublasLt;
using heddle::DType;
using heddle::LtFunctions;
using heddle::LtProduct;

// A library whose call number `fails_at` fails, and which counts what is made and what is destroyed.
struct Fake {
  int calls = 0, fails_at = -1, made = 0, destroyed = 0, heuristics = 0, products = 0, found = 1;
  size_t workspace = 0;
  std::vector<std::string> layouts;
  bool transposed = false, bias = false;
};
Fake fake;

int answer() { return fake.calls++ == fake.fails_at ? 7 : 0; }
int make(void** to) {
  const int status = answer();
  if (status == 0) *to = &fake, fake.made++;
  return status;
}
int destroy(void*) {
  fake.destroyed++;
  return 0;
}

LtFunctions fake_functions() {
  LtFunctions functions = {};
  functions.version = [] { return size_t{130000}; };
  functions.create = [](void** handle) { return answer() == 0 ? (*handle = &fake, 0) : 1; };
  functions.destroy = [](void*) { return 0; };
  functions.desc_create = [](void** desc, int compute, int scale) {
    CHECK_EQUAL(compute, 68);
    CHECK_EQUAL(scale, 0);
    return make(desc);
  };
  functions.desc_destroy = destroy;
  functions.desc_set = [](void*, int attribute, const void*, size_t bytes) {
    if (attribute == heddle::kLtDescTransposeA) fake.transposed = true;
    if (attribute == heddle::kLtDescBiasPointer) fake.bias = bytes == sizeof(void*);
    return answer();
  };
  functions.layout_create = [](void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    fake.layouts.push_back(std::to_string(type) + ": " + std::to_string(rows) + " x " + std::to_string(columns) + " by " + std::to_string(leading));
    return make(layout);
  };
  functions.layout_destroy = destroy;
  functions.preference_create = make;
  functions.preference_destroy = destroy;
  functions.preference_set = [](void*, int attribute, const void* value, size_t bytes) {
    if (attribute == heddle::kLtPreferenceReductions) CHECK_EQUAL(*static_cast<const uint32_t*>(value), 0u);
    CHECK_EQUAL(bytes, attribute == heddle::kLtPreferenceWorkspaceBytes ? size_t{8} : size_t{4});
    return answer();
  };
  functions.heuristic = [](void*, void*, void*, void*, void*, void*, void*, int wanted, heddle::LtHeuristicResult* results, int* found) {
    CHECK_EQUAL(wanted, 1);
    fake.heuristics++;
    *found = fake.found;
    *results = {{{42}}, fake.workspace, 0, 1.0f, {}};
    return answer();
  };
  functions.matmul = [](void*, void*, const void* alpha, const void*, void*, const void*, void*, const void* beta, const void*, void*, void*, void*,
                        const heddle::LtAlgorithm* algorithm, void*, size_t workspace_bytes, void*) {
    CHECK_EQUAL(*static_cast<const float*>(alpha), 1.0f);
    CHECK_EQUAL(*static_cast<const float*>(beta), 0.0f);
    CHECK_EQUAL(algorithm->data[0], uint64_t{42});
    CHECK_EQUAL(workspace_bytes, size_t{0});
    fake.products++;
    return answer();
  };
  return functions;
}

alignas(16) float memory[64];

LtProduct product(bool turned) {
  LtProduct result = {};
  result.dtype = DType::kBF16;
  result.left = memory;
  result.weight = memory;
  result.bias = memory;
  result.y = memory;
  result.rows = 200, result.columns = 48, result.k = 30;
  result.left_stride = 64, result.weight_stride = turned ? 48 : 32, result.y_stride = 48;
  result.turned = turned;
  return result;
}

}  // namespace

TEST("a library that is missing is not used") {
  const char* const names[] = {"libheddle_no_such_library.so.1", nullptr};
  LtFunctions functions = {};
  CHECK(!heddle::open_lt_library(names, &functions));
  CHECK(functions.matmul == nullptr);
}

TEST("a library without the functions is not used") {
  const char* const names[] = {"libm.so.6", nullptr};
  LtFunctions functions = {};
  CHECK(!heddle::open_lt_library(names, &functions));
  CHECK(functions.version == nullptr);
}

TEST("products are described as transposes, and a shape's algorithm is asked for once") {
  fake = {};
  CublasLt library(fake_functions());
  CHECK(library.multiply(0, product(false), nullptr, false));
  CHECK_EQUAL(fake.layouts.size(), size_t{3});
  CHECK_EQUAL(fake.layouts[0], "14: 30 x 48 by 32");
  CHECK_EQUAL(fake.layouts[1], "14: 30 x 200 by 64");
  CHECK_EQUAL(fake.layouts[2], "0: 48 x 200 by 48");
  CHECK(fake.transposed);
  CHECK(fake.bias);
  CHECK(library.multiply(0, product(false), nullptr, false));
  CHECK_EQUAL(fake.heuristics, 1);
  CHECK_EQUAL(fake.products, 2);
  fake.layouts.clear();
  fake.transposed = false;
  CHECK(library.multiply(0, product(true), nullptr, false));
  CHECK_EQUAL(fake.layouts[0], "14: 48 x 30 by 48");
  CHECK(!fake.transposed);
  CHECK_EQUAL(fake.heuristics, 2);
  CHECK_EQUAL(fake.made, fake.destroyed);
}

TEST("whichever call fails, the answer is no, nothing is lost, and the shape is not tried again") {
  for (int call = 0; call < 15; call++) {
    fake = {};
    CublasLt library(fake_functions());
    fake.fails_at = call;
    const bool reached = library.multiply(0, product(false), nullptr, false);
    CHECK_EQUAL(reached, fake.calls <= call);
    CHECK_EQUAL(fake.made, fake.destroyed);
    if (reached) continue;
    const int products = fake.products;
    CHECK(!library.multiply(0, product(false), nullptr, false));
    CHECK_EQUAL(fake.products, products);
    CHECK_EQUAL(library.multiply(0, product(true), nullptr, false), call > 0);  // another shape, unless there is no handle
  }
}

TEST("a device without a handle is not used") {
  fake = {};
  fake.fails_at = 0;
  CublasLt library(fake_functions());
  CHECK(!library.multiply(0, product(false), nullptr, false));
  CHECK(!library.multiply(0, product(true), nullptr, false));
  CHECK_EQUAL(fake.products, 0);
  CHECK(library.multiply(1, product(false), nullptr, false));
}

TEST("while a stream is captured nothing is chosen or made that was not before") {
  fake = {};
  CublasLt library(fake_functions());
  CHECK(!library.multiply(0, product(false), nullptr, true));
  CHECK_EQUAL(fake.calls, 0);
  CHECK(library.multiply(0, product(false), nullptr, false));
  CHECK(library.multiply(0, product(false), nullptr, true));
  CHECK(!library.multiply(0, product(true), nullptr, true));
}

TEST("no algorithm, or one that wants a workspace, is no") {
  fake = {};
  fake.found = 0;
  CublasLt none(fake_functions());
  CHECK(!none.multiply(0, product(false), nullptr, false));
  fake = {};
  fake.workspace = 1;
  CublasLt wants(fake_functions());
  CHECK(!wants.multiply(0, product(false), nullptr, false));
  CHECK_EQUAL(fake.products, 0);
}

TEST("operands that are not aligned to 16 bytes are left to other kernels") {
  fake = {};
  CublasLt library(fake_functions());
  LtProduct narrow = product(false);
  narrow.weight_stride = 30;
  CHECK(!library.multiply(0, narrow, nullptr, false));
  LtProduct shifted = product(false);
  shifted.y = memory + 1;
  CHECK(!library.multiply(0, shifted, nullptr, false));
  LtProduct biased = product(false);
  biased.bias = memory + 1;
  CHECK(!library.multiply(0, biased, nullptr, false));
  LtProduct empty = product(false);
  empty.rows = 0;
  CHECK(!library.multiply(0, empty, nullptr, false));
  CHECK_EQUAL(fake.calls, 0);
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
