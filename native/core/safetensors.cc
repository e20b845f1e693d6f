#include "core/safetensors.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <stdexcept>

#include "core/json.h"

namespace heddle {
namespace {

struct DTypeFacts {
  const char* name;
  int bits;
};

// In the order of SafetensorsDType.
constexpr DTypeFacts kDTypes[] = {
    {"BOOL", 8},        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8},     {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16}, {"F16", 16}, {"BF16", 16},   {"I32", 32},
    {"U32", 32},        {"F32", 32},        {"C64", 64},    {"F64", 64},    {"I64", 64}, {"U64", 64},
};
static_assert(std::size(kDTypes) == static_cast<size_t>(SafetensorsDType::kU64) + 1);

constexpr uint64_t kPrefix = 8;  // the header's length, little endian

Status broken(const char* rule, const std::string& message) { return fail(StatusCode::kInvalidFile, std::string(rule) + ": " + message); }

Status broken_json(const JsonReader& reader) { return broken("json", "header, " + reader.error()); }

std::string tensor(const SafetensorsEntry& entry) { return "tensor " + quoted(entry.name); }

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Status check_header_length(const uint8_t* prefix, uint64_t file_size, uint64_t max_header, uint64_t* length) {
  if (file_size < kPrefix) return broken("header-size", "the file has " + std::to_string(file_size) + " bytes, expected at least 8 for the header's length");
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--) value = value << 8 | prefix[i];
  max_header = std::min(max_header, kSafetensorsLargestHeader);
  if (value > max_header)
    return broken("header-limit", "the header claims " + std::to_string(value) + " bytes, expected at most " + std::to_string(max_header) +
                                      (max_header < kSafetensorsLargestHeader && value <= kSafetensorsLargestHeader ? " (the limit can be raised)" : ""));
  if (value > file_size - kPrefix)
    return broken("header-length", "the header claims " + std::to_string(value) + " bytes, but only " + std::to_string(file_size - kPrefix) + " follow its length");
  *length = value;
  return Status::success();
}

class HeaderParser {
 public:
  HeaderParser(const uint8_t* json, uint64_t size, uint64_t data_bytes, SafetensorsHeader* out)
      : json_(json), size_(size), data_begin_(kPrefix + size), data_bytes_(data_bytes), reader_(json, size), out_(out) {}

  Status parse() {
    const size_t invalid = first_invalid_utf8(json_, size_);
    if (invalid != size_) return broken("utf-8", "header, byte " + std::to_string(invalid) + ": not valid UTF-8");
    if (!reader_.begin_object()) return broken_json(reader_);
    std::string key;
    while (reader_.next_key(&key)) {
      if (key == "__metadata__") {
        HEDDLE_TRY(metadata());
      } else {
        HEDDLE_TRY(entry(key));
      }
    }
    if (!reader_.end()) return broken_json(reader_);
    HEDDLE_TRY(check_names());
    return check_layout();
  }

 private:
  Status metadata() {
    if (metadata_seen_) return broken("duplicate-name", "header: \"__metadata__\" appears twice");
    metadata_seen_ = true;
    if (reader_.null_if_there()) return Status::success();
    if (!reader_.begin_object()) return broken("metadata", "__metadata__, " + reader_.error() + " (an object of strings)");
    std::string key, value;
    while (reader_.next_key(&key)) {
      if (!reader_.string(&value)) return broken("metadata", "__metadata__, key " + quoted(key) + ", " + reader_.error() + " (values are strings)");
      if (!out_->metadata.emplace(key, value).second) return broken("duplicate-name", "__metadata__: key " + quoted(key) + " appears twice");
    }
    return reader_.ok() ? Status::success() : broken_json(reader_);
  }

  Status entry(const std::string& name) {
    SafetensorsEntry entry{name, SafetensorsDType::kU8, {}, 0, 0};
    if (name.size() > kSafetensorsLongestName)
      return broken("name-length", tensor(entry) + ": expected a name of at most " + std::to_string(kSafetensorsLongestName) + " bytes");
    bool dtype_seen = false, shape_seen = false, offsets_seen = false;
    const auto once = [&](bool* seen, const char* field) {
      if (*seen) return broken("duplicate-name", tensor(entry) + ": field \"" + field + "\" appears twice");
      *seen = true;
      return Status::success();
    };
    if (!reader_.begin_object()) return in(entry, "");
    while (reader_.next_key(&field_)) {
      if (field_ == "dtype") {
        HEDDLE_TRY(once(&dtype_seen, "dtype"));
        HEDDLE_TRY(dtype(&entry));
      } else if (field_ == "shape") {
        HEDDLE_TRY(once(&shape_seen, "shape"));
        HEDDLE_TRY(shape(&entry));
      } else if (field_ == "data_offsets") {
        HEDDLE_TRY(once(&offsets_seen, "data_offsets"));
        HEDDLE_TRY(offsets(&entry));
      } else if (!reader_.skip()) {
        return in(entry, ", field " + quoted(field_));
      }
    }
    if (!reader_.ok()) return in(entry, "");
    const char* missing = !dtype_seen ? "dtype" : !shape_seen ? "shape" : !offsets_seen ? "data_offsets" : nullptr;
    if (missing != nullptr) return broken("missing-field", tensor(entry) + ": expected a field \"" + missing + "\", found none");
    HEDDLE_TRY(check_bytes(entry));
    if (out_->entries.empty()) out_->entries.reserve(expected_entries());
    out_->entries.push_back(std::move(entry));
    return Status::success();
  }

  // Growing by doubling would cost up to three times the final size for a moment.
  size_t expected_entries() const {
    static constexpr char kField[] = "\"data_offsets\"";
    constexpr size_t kLength = sizeof(kField) - 1;
    size_t count = 0;
    for (const uint8_t* at = json_; (at = std::search(at, json_ + size_, kField, kField + kLength)) != json_ + size_; at += kLength) count++;
    constexpr size_t kShortestEntry = 48;  // a file may say the word where it is no field
    return std::max<size_t>(std::min(count, size_ / kShortestEntry), 1);
  }

  Status in(const SafetensorsEntry& entry, const std::string& where) { return broken("json", tensor(entry) + where + ": header, " + reader_.error()); }

  Status dtype(SafetensorsEntry* entry) {
    if (!reader_.string(&value_)) return in(*entry, ", dtype");
    for (size_t i = 0; i < std::size(kDTypes); i++) {
      if (value_ == kDTypes[i].name) {
        entry->dtype = static_cast<SafetensorsDType>(i);
        return Status::success();
      }
    }
    return broken("dtype", tensor(*entry) + ": unknown dtype " + quoted(value_) + ", expected one of the format's such as \"F32\", \"F16\" or \"BF16\"");
  }

  Status shape(SafetensorsEntry* entry) {
    if (!reader_.begin_array()) return in(*entry, ", shape");
    while (reader_.next_element()) {
      uint64_t dim;
      if (!reader_.unsigned_integer(&dim)) return in(*entry, ", shape");
      if (dim > static_cast<uint64_t>(INT64_MAX))
        return broken("overflow", tensor(*entry) + ": dimension " + std::to_string(dim) + " is above " + std::to_string(INT64_MAX));
      if (entry->shape.size() == kSafetensorsMaxRank)
        return broken("rank", tensor(*entry) + ": more than " + std::to_string(kSafetensorsMaxRank) + " dimensions");
      entry->shape.push_back(static_cast<int64_t>(dim));
    }
    return reader_.ok() ? Status::success() : in(*entry, ", shape");
  }

  Status offsets(SafetensorsEntry* entry) {
    uint64_t values[2];
    int count = 0;
    if (!reader_.begin_array()) return in(*entry, ", data_offsets");
    while (reader_.next_element()) {
      if (count == 2) return broken("offsets", tensor(*entry) + ": data_offsets has more than two numbers");
      if (!reader_.unsigned_integer(&values[count++])) return in(*entry, ", data_offsets");
    }
    if (!reader_.ok()) return in(*entry, ", data_offsets");
    if (count != 2) return broken("offsets", tensor(*entry) + ": data_offsets has " + std::to_string(count) + " numbers, expected two");
    const std::string text = "data_offsets [" + std::to_string(values[0]) + ", " + std::to_string(values[1]) + "]";
    if (values[0] > values[1]) return broken("offsets", tensor(*entry) + ": " + text + " end before they begin");
    if (values[1] > data_bytes_)
      return broken("offsets", tensor(*entry) + ": " + text + " reach beyond the " + std::to_string(data_bytes_) + " bytes of data in the file");
    entry->begin = data_begin_ + values[0];
    entry->end = data_begin_ + values[1];
    return Status::success();
  }

  Status check_bytes(const SafetensorsEntry& entry) {
    // Zeros are left out of the product, so that no reader with another order of multiplication can overflow.
    uint64_t bits = static_cast<uint64_t>(safetensors_dtype_bits(entry.dtype));
    bool empty = false;
    for (const int64_t dim : entry.shape) {
      if (dim == 0) {
        empty = true;
      } else if (__builtin_mul_overflow(bits, static_cast<uint64_t>(dim), &bits)) {
        return broken("overflow", tensor(entry) + ": the size of shape " + shape_text(entry.shape) + " overflows 64 bits");
      }
    }
    if (empty) bits = 0;
    const char* name = safetensors_dtype_name(entry.dtype);
    if (bits % 8 != 0) return broken("size", tensor(entry) + ": " + name + " " + shape_text(entry.shape) + " is " + std::to_string(bits) + " bits, expected whole bytes");
    if (entry.end - entry.begin != bits / 8)
      return broken("size", tensor(entry) + ": data_offsets span " + std::to_string(entry.end - entry.begin) + " bytes, but " + name + " " + shape_text(entry.shape) +
                                " needs " + std::to_string(bits / 8));
    return Status::success();
  }

  Status check_names() {
    std::vector<uint32_t> order(out_->entries.size());
    for (size_t i = 0; i < order.size(); i++) order[i] = static_cast<uint32_t>(i);
    const auto name = [this](uint32_t i) -> const std::string& { return out_->entries[i].name; };
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return name(a) < name(b); });
    for (size_t i = 1; i < order.size(); i++) {
      if (name(order[i - 1]) == name(order[i])) return broken("duplicate-name", tensor(out_->entries[order[i]]) + " appears twice");
    }
    return Status::success();
  }

  // The tensors must cover the data exactly, one after another.
  Status check_layout() {
    auto& entries = out_->entries;
    std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
      if (a.begin != b.begin) return a.begin < b.begin;
      if (a.end != b.end) return a.end < b.end;
      return a.name < b.name;
    });
    uint64_t at = data_begin_;
    const SafetensorsEntry* previous = nullptr;
    for (const SafetensorsEntry& entry : entries) {
      if (entry.begin != at) {
        const bool overlap = entry.begin < at;
        const std::string before = previous == nullptr ? "the data begins at 0" : tensor(*previous) + " ends at " + std::to_string(at - data_begin_);
        return broken(overlap ? "overlap" : "hole", tensor(entry) + " begins at " + std::to_string(entry.begin - data_begin_) + " of the data, but " + before +
                                                        (overlap ? ": tensors must not overlap" : ": no byte may be left out"));
      }
      at = entry.end;
      previous = &entry;
    }
    const uint64_t covered = at - data_begin_;
    if (covered != data_bytes_)
      return broken("trailing-bytes", "the tensors end at " + std::to_string(covered) + " of the data, but the file has " + std::to_string(data_bytes_) + " bytes of it");
    return Status::success();
  }

  const uint8_t* json_;
  size_t size_;
  uint64_t data_begin_;
  uint64_t data_bytes_;
  JsonReader reader_;
  SafetensorsHeader* out_;
  bool metadata_seen_ = false;
  std::string field_, value_;
};

template <class Body>
Status guarded(SafetensorsHeader* out, const Body& body) {
  Status status;
  try {
    *out = {};
    status = body();
  } catch (const std::bad_alloc&) {
    status = fail(StatusCode::kOutOfMemory, "out of memory");
  } catch (const std::length_error&) {
    status = fail(StatusCode::kOutOfMemory, "out of memory");
  }
  if (!status.ok()) *out = {};
  return status;
}

}  // namespace

const char* safetensors_dtype_name(SafetensorsDType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }
int safetensors_dtype_bits(SafetensorsDType dtype) { return kDTypes[static_cast<size_t>(dtype)].bits; }

Status parse_safetensors(const uint8_t* bytes, uint64_t size, uint64_t max_header, SafetensorsHeader* out) {
  return guarded(out, [&] {
    uint64_t length = 0;
    HEDDLE_TRY(check_header_length(bytes, size, max_header, &length));
    return HeaderParser(bytes + kPrefix, length, size - kPrefix - length, out).parse();
  });
}

Status read_safetensors_header(const MappedFile& file, uint64_t max_header, SafetensorsHeader* out) {
  return guarded(out, [&] {
    uint8_t prefix[kPrefix] = {};
    HEDDLE_TRY(file.read(0, std::min(file.size(), kPrefix), prefix));
    uint64_t length = 0;
    HEDDLE_TRY(check_header_length(prefix, file.size(), max_header, &length));
    std::vector<uint8_t> json(length);
    HEDDLE_TRY(file.read(kPrefix, length, json.data()));
    return HeaderParser(json.data(), length, file.size() - kPrefix - length, out).parse();
  });
}

}  // namespace heddle
