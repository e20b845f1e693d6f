// A strict JSON reader (RFC 8259) that hands values to its caller one by one: no tree, no recursion, bounded depth.
//
// Every call returns false once something was wrong; status() then says what and at which byte.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/status.h"

namespace heddle {

// Position of the first byte that is not UTF-8 (over-long forms and surrogates included), or `size`.
size_t first_invalid_utf8(const uint8_t* bytes, size_t size);

// A string for a message: control characters and quotes escaped, cut to a readable length.
std::string quoted(const std::string& text);

class JsonReader {
 public:
  static constexpr int kMaxDepth = 128;

  // `bytes` must be UTF-8 and outlive the reader.
  JsonReader(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {}

  bool begin_object();
  bool next_key(std::string* key);  // false also at the object's end; `key` may be nullptr
  bool begin_array();
  bool next_element();  // false also at the array's end
  bool string(std::string* text);
  bool unsigned_integer(uint64_t* value);
  bool null_if_there();  // true when a null was read; no error when something else comes
  bool skip();           // any value
  bool end();            // only white space is left

  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  // Records what the caller finds wrong with the value at this place.
  bool refuse(const std::string& message);

 private:
  enum class Kind : uint8_t { kObject, kArray };

  void skip_space();
  int peek();
  bool consume(char expected);
  bool literal(const char* word);
  bool number();
  bool open(Kind kind, char bracket);
  bool close();
  bool escape(std::string* text);
  bool hex4(uint32_t* value);
  std::string found() const;

  const uint8_t* bytes_;
  size_t size_;
  size_t at_ = 0;
  int depth_ = 0;
  Kind kinds_[kMaxDepth] = {};
  bool first_[kMaxDepth] = {};
  std::string error_;
};

}  // namespace heddle
