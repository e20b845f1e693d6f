// The safetensors format, read under all of its rules, for files that nobody vouches for.
//
// A broken rule gives kInvalidFile with a message "<rule>: <what was found and what was expected>"; <rule> is one word.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/mapped_file.h"
#include "core/status.h"

namespace heddle {

enum class SafetensorsDType : uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

const char* safetensors_dtype_name(SafetensorsDType dtype);  // as the file spells it
int safetensors_dtype_bits(SafetensorsDType dtype);

// Bytes [begin, end) of the file hold the tensor, at no particular alignment.
struct SafetensorsEntry {
  std::string name;
  SafetensorsDType dtype;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

inline constexpr uint64_t kSafetensorsDefaultMaxHeader = 16u << 20;
inline constexpr uint64_t kSafetensorsLargestHeader = 100'000'000;  // the format's own limit
inline constexpr size_t kSafetensorsLongestName = 1024;
inline constexpr size_t kSafetensorsMaxRank = 8;

// Parses a file that is wholly in memory. `max_header` is lowered to the format's limit. Memory is bounded by a small
// multiple of the header's length.
Status parse_safetensors(const uint8_t* bytes, uint64_t size, uint64_t max_header, SafetensorsHeader* out);

// The same for a file on disk; only the header is read.
Status read_safetensors_header(const MappedFile& file, uint64_t max_header, SafetensorsHeader* out);

}  // namespace heddle
