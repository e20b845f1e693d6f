// Compact weights: nothing is lost, and what is not worth it stays plain.
#include "kernels/linear/compact_weight.h"

#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "core/float16.h"

namespace {

using namespace heddle;

enum class Content { kNormal, kZeroRows, kSpecial, kAnyBits };

// A weight [outputs, k] in slots, and the bits of its elements.
struct Weight {
  int64_t outputs, k;
  std::vector<uint16_t> elements;
  std::vector<std::byte> memory;

  Weight(int64_t outputs, int64_t k, Content content) : outputs(outputs), k(k), elements(static_cast<size_t>(outputs * k)), memory(compact_slots_bytes(outputs, k)) {
    std::mt19937 random(static_cast<uint32_t>(outputs * 1000 + k));
    std::normal_distribution<float> normal(0, 0.02f);
    for (size_t i = 0; i < elements.size(); i++) {
      elements[i] = content == Content::kAnyBits ? static_cast<uint16_t>(random()) : f32_to_bf16(normal(random));
      if (content == Content::kZeroRows && static_cast<int64_t>(i) / k % 3 == 1) elements[i] = i % 2 == 0 ? 0 : 0x8000;
      // Infinities, NaN, subnormal numbers, the largest: few enough to be exceptions.
      constexpr uint16_t kSpecial[] = {0x7f80, 0xff80, 0x7fc1, 0x0001, 0x8001, 0x7f7f, 0x0000, 0x8000};
      if (content == Content::kSpecial && i % 331 == 7) elements[i] = kSpecial[i / 331 % 8];
    }
    linear_pack_rows(DType::kBF16, elements.data(), outputs, k, false, k, 0, memory.data() + kPanelLine, compact_slot_bytes(k));
  }

  PanelRows rows() const { return {memory.data(), k}; }

  void check_rows() const {
    std::vector<float> row(static_cast<size_t>(k));
    for (int64_t output = 0; output < outputs; output++) {
      rows().row(output / kLinearPanel, output % kLinearPanel, row.data());
      for (int64_t i = 0; i < k; i++) {
        const float expected = bf16_to_f32(elements[static_cast<size_t>(output * k + i)]);
        CHECK(std::memcmp(&row[static_cast<size_t>(i)], &expected, sizeof expected) == 0);
      }
    }
  }
};

void check_round_trip(int64_t outputs, int64_t k, Content content, int threads, bool compact) {
  Weight weight(outputs, k, content);
  const std::vector<std::byte> before = weight.memory;
  ThreadPool pool(threads);
  CompactWeight change(weight.memory.data(), outputs, k);
  const int64_t used = change.make_compact(pool);
  if (outputs > 0) CHECK_EQUAL(weight.rows().compact(), compact);
  CHECK(used <= static_cast<int64_t>(weight.memory.size()));
  if (!compact) CHECK(weight.memory == before);
  weight.check_rows();
  CHECK_EQUAL(change.make_compact(pool), used);  // once more changes nothing
  std::fill(weight.memory.begin() + used, weight.memory.end(), std::byte{});  // what is given back
  weight.check_rows();
  change.make_plain(pool);
  CHECK(weight.memory == before);
}

}  // namespace

TEST("weights of any size are the same before and after") {
  for (const int threads : {1, 3})
    for (const int64_t outputs : {1, 15, 16, 17, 100, 700})
      for (const int64_t k : {32, 33, 37, 64, 130, 515}) check_round_trip(outputs, k, Content::kNormal, threads, true);
}

TEST("rows of zeros, of either sign") { check_round_trip(100, 130, Content::kZeroRows, 2, true); }

TEST("infinities, NaN, subnormal and largest numbers") { check_round_trip(100, 700, Content::kSpecial, 2, true); }

TEST("weights of any bits stay plain") { check_round_trip(100, 130, Content::kAnyBits, 2, false); }

TEST("weights that would not get shorter stay plain") {
  for (const int64_t k : {1, 2, 6}) check_round_trip(40, k, Content::kNormal, 2, false);
}

TEST("no outputs") { check_round_trip(0, 64, Content::kNormal, 1, false); }

TEST("no inputs") { check_round_trip(20, 0, Content::kNormal, 1, false); }

TEST("a compact weight takes three quarters") {
  Weight weight(1024, 2048, Content::kNormal);
  ThreadPool pool(2);
  const auto used = static_cast<double>(CompactWeight(weight.memory.data(), 1024, 2048).make_compact(pool));
  CHECK(used < 0.76 * 1024 * 2048 * 2);
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
