// Philox4x32-10 (Salmon et al., 2011): a counter-based generator, so a draw depends on its key and counter alone.
#pragma once
#include <cstdint>

namespace heddle {

struct PhiloxBlock {
  uint32_t word[4];
};

constexpr PhiloxBlock philox4x32(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t first = uint64_t{0xD2511F53u} * counter.word[0], second = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(second >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(second),
                static_cast<uint32_t>(first >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(first)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// In [0, 1): 53 bits, the first word above the second.
constexpr double philox_uniform(uint32_t count, uint32_t key0, uint32_t key1) {
  const PhiloxBlock block = philox4x32({{count, 0, 0, 0}}, key0, key1);
  const uint64_t bits = (uint64_t{block.word[0]} << 32) | block.word[1];
  return static_cast<double>(bits >> 11) * (1.0 / 9007199254740992.0);
}

}  // namespace heddle
