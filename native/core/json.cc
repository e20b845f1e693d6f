#include "core/json.h"

#include <cstring>

namespace heddle {
namespace {

constexpr int kEnd = -1;

bool is_digit(int c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string* text, uint32_t code) {
  const auto byte = [text](uint32_t value) { text->push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | (code >> 6));
    byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | (code >> 12));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | (code >> 18));
    byte(0x80 | ((code >> 12) & 0x3F));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
}

}  // namespace

size_t first_invalid_utf8(const uint8_t* bytes, size_t size) {
  size_t i = 0;
  while (i < size) {
    const uint8_t lead = bytes[i];
    if (lead < 0x80) {
      i++;
      continue;
    }
    // The second byte's range excludes over-long forms, surrogates and what lies beyond U+10FFFF.
    size_t more;
    uint8_t lowest = 0x80, highest = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
      more = 1;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      more = 2;
      if (lead == 0xE0) lowest = 0xA0;
      if (lead == 0xED) highest = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      more = 3;
      if (lead == 0xF0) lowest = 0x90;
      if (lead == 0xF4) highest = 0x8F;
    } else {
      return i;
    }
    if (size - i <= more || bytes[i + 1] < lowest || bytes[i + 1] > highest) return i;
    for (size_t k = 2; k <= more; k++) {
      if ((bytes[i + k] & 0xC0) != 0x80) return i;
    }
    i += more + 1;
  }
  return size;
}

std::string quoted(const std::string& text) {
  constexpr size_t kLongest = 96;
  static const char* const kHex = "0123456789abcdef";
  size_t length = text.size();
  if (length > kLongest) {
    length = kLongest;
    while (length > 0 && (static_cast<uint8_t>(text[length]) & 0xC0) == 0x80) length--;  // not inside a character
  }
  std::string result = "\"";
  for (size_t i = 0; i < length; i++) {
    const auto c = static_cast<uint8_t>(text[i]);
    if (c < 0x20 || c == 0x7F) {
      result += "\\u00";
      result += kHex[c >> 4];
      result += kHex[c & 15];
    } else {
      if (c == '"' || c == '\\') result += '\\';
      result += static_cast<char>(c);
    }
  }
  return length == text.size() ? result + "\"" : result + "...\" (" + std::to_string(text.size()) + " bytes)";
}

bool JsonReader::refuse(const std::string& message) {
  if (error_.empty()) error_ = "byte " + std::to_string(at_) + ": " + message;
  return false;
}

std::string JsonReader::found() const {
  if (at_ >= size_) return "the end";
  const uint8_t c = bytes_[at_];
  if (c > 0x20 && c < 0x7F) return std::string("'") + static_cast<char>(c) + "'";
  return "byte value " + std::to_string(c);
}

void JsonReader::skip_space() {
  while (at_ < size_ && (bytes_[at_] == ' ' || bytes_[at_] == '\t' || bytes_[at_] == '\n' || bytes_[at_] == '\r')) at_++;
}

int JsonReader::peek() {
  skip_space();
  return at_ < size_ ? bytes_[at_] : kEnd;
}

bool JsonReader::consume(char expected) {
  if (!ok()) return false;
  if (peek() != expected) return refuse(std::string("expected '") + expected + "', found " + found());
  at_++;
  return true;
}

bool JsonReader::open(Kind kind, char bracket) {
  if (!consume(bracket)) return false;
  if (depth_ == kMaxDepth) return refuse("nested deeper than " + std::to_string(kMaxDepth));
  kinds_[depth_] = kind;
  first_[depth_] = true;
  depth_++;
  return true;
}

bool JsonReader::close() {
  at_++;
  depth_--;
  return false;
}

bool JsonReader::begin_object() { return open(Kind::kObject, '{'); }
bool JsonReader::begin_array() { return open(Kind::kArray, '['); }

bool JsonReader::next_key(std::string* key) {
  if (!ok()) return false;
  if (peek() == '}') return close();
  if (!first_[depth_ - 1] && !consume(',')) return false;
  first_[depth_ - 1] = false;
  if (peek() != '"') return refuse("expected a key in double quotes, found " + found());
  return string(key) && consume(':');
}

bool JsonReader::next_element() {
  if (!ok()) return false;
  if (peek() == ']') return close();
  if (!first_[depth_ - 1] && !consume(',')) return false;
  first_[depth_ - 1] = false;
  return true;
}

bool JsonReader::hex4(uint32_t* value) {
  *value = 0;
  for (int i = 0; i < 4; i++) {
    const int c = at_ < size_ ? bytes_[at_] : kEnd;
    int digit;
    if (is_digit(c)) {
      digit = c - '0';
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      digit = (c | 0x20) - 'a' + 10;
    } else {
      return refuse("expected four hexadecimal digits after \\u, found " + found());
    }
    *value = *value * 16 + static_cast<uint32_t>(digit);
    at_++;
  }
  return true;
}

bool JsonReader::escape(std::string* text) {
  const int c = at_ < size_ ? bytes_[at_] : kEnd;
  static const char kNames[] = "\"\\/bfnrt";
  static const char kValues[] = "\"\\/\b\f\n\r\t";
  if (c == 'u') {
    at_++;
    uint32_t code;
    if (!hex4(&code)) return false;
    if (code >= 0xDC00 && code <= 0xDFFF) return refuse("a low surrogate without a high one before it");
    if (code >= 0xD800 && code <= 0xDBFF) {
      uint32_t low = 0;
      if (size_ - at_ < 2 || bytes_[at_] != '\\' || bytes_[at_ + 1] != 'u') return refuse("a high surrogate without a low one after it");
      at_ += 2;
      if (!hex4(&low)) return false;
      if (low < 0xDC00 || low > 0xDFFF) return refuse("a high surrogate without a low one after it");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (text != nullptr) append_utf8(text, code);
    return true;
  }
  const char* name = c > 0 ? std::strchr(kNames, c) : nullptr;
  if (name == nullptr) return refuse("unknown escape \\ followed by " + found());
  if (text != nullptr) text->push_back(kValues[name - kNames]);
  at_++;
  return true;
}

bool JsonReader::string(std::string* text) {
  if (!consume('"')) return false;
  if (text != nullptr) text->clear();
  for (;;) {
    const size_t begin = at_;
    while (at_ < size_ && bytes_[at_] >= 0x20 && bytes_[at_] != '"' && bytes_[at_] != '\\') at_++;
    if (text != nullptr) text->append(reinterpret_cast<const char*>(bytes_) + begin, at_ - begin);
    if (at_ == size_) return refuse("a string without an end");
    if (bytes_[at_] < 0x20) return refuse("a control character inside a string: " + found());
    if (bytes_[at_++] == '"') return true;
    if (!escape(text)) return false;
  }
}

bool JsonReader::unsigned_integer(uint64_t* value) {
  if (!ok()) return false;
  if (!is_digit(peek())) return refuse("expected an integer from 0, found " + found());
  const size_t begin = at_;
  uint64_t result = 0;
  while (at_ < size_ && is_digit(bytes_[at_])) {
    if (__builtin_mul_overflow(result, uint64_t{10}, &result) || __builtin_add_overflow(result, uint64_t{bytes_[at_]} - '0', &result))
      return refuse("an integer above 18446744073709551615");
    at_++;
  }
  if (bytes_[begin] == '0' && at_ - begin > 1) return refuse("an integer with a leading zero");
  if (at_ < size_ && (bytes_[at_] == '.' || bytes_[at_] == 'e' || bytes_[at_] == 'E')) return refuse("expected an integer, found a fraction or an exponent");
  *value = result;
  return true;
}

bool JsonReader::literal(const char* word) {
  const size_t length = std::strlen(word);
  if (size_ - at_ < length || std::memcmp(bytes_ + at_, word, length) != 0) return refuse("expected a value, found " + found());
  at_ += length;
  return true;
}

bool JsonReader::null_if_there() { return ok() && peek() == 'n' && literal("null"); }

bool JsonReader::number() {
  const auto digits = [this] {
    const size_t begin = at_;
    while (at_ < size_ && is_digit(bytes_[at_])) at_++;
    return at_ > begin || refuse("expected a digit, found " + found());
  };
  if (bytes_[at_] == '-') at_++;
  const bool zero = at_ < size_ && bytes_[at_] == '0';
  if (zero) {
    at_++;
  } else if (!digits()) {
    return false;
  }
  if (at_ < size_ && bytes_[at_] == '.') {
    at_++;
    if (!digits()) return false;
  }
  if (at_ < size_ && (bytes_[at_] == 'e' || bytes_[at_] == 'E')) {
    at_++;
    if (at_ < size_ && (bytes_[at_] == '+' || bytes_[at_] == '-')) at_++;
    if (!digits()) return false;
  }
  return true;
}

bool JsonReader::skip() {
  const int base = depth_;
  for (;;) {
    if (!ok()) return false;
    const int c = peek();
    bool done;
    if (c == '{') {
      done = begin_object();
    } else if (c == '[') {
      done = begin_array();
    } else if (c == '"') {
      done = string(nullptr);
    } else if (c == '-' || is_digit(c)) {
      done = number();
    } else {
      done = literal(c == 't' ? "true" : c == 'f' ? "false" : "null");
    }
    if (!done) return false;
    // Leave what is finished; stop at the next value that has to be skipped.
    while (depth_ > base) {
      if (kinds_[depth_ - 1] == Kind::kObject ? next_key(nullptr) : next_element()) break;
      if (!ok()) return false;
    }
    if (depth_ == base) return true;
  }
}

bool JsonReader::end() {
  if (!ok()) return false;
  return peek() == kEnd || refuse("expected nothing after the value, found " + found());
}

}  // namespace heddle
