#include "core/json.h"

#include <string>

#include "check.h"

using heddle::JsonReader;

namespace {

const uint8_t* bytes_of(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

std::string skipped(const std::string& text) {
  JsonReader reader(bytes_of(text), text.size());
  return reader.skip() && reader.end() ? "" : reader.error();
}

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST("accepts what RFC 8259 allows") {
  for (const char* text : {"null", "true", " false ", "0", "-0", "-1.5e+10", "1E5", "0.25", "\"\"", "[]", "{}", "[1, [2, {\"a\": []}], 3]", "\t{\"a\":1,\"b\":{}}\r\n",
                           "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\""})
    CHECK_EQUAL(skipped(text), "");
}

TEST("refuses everything else") {
  for (const char* text :
       {"", " ", "nul", "nulL", "True", "01", "-", "+1", ".5", "1.", "1e", "1e+", "NaN", "Infinity", "-Infinity", "0x10", "'a'", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
        "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800\\n\"", "\"\n\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,",
        "{\"a\":1,}", "{,}", "{1:2}", "{\"a\" 1}", "[}", "{]", "1 2", "[] []", "// no\n1"})
    CHECK(skipped(text) != "");
  CHECK(skipped(std::string("1\0", 2)) != "");
}

TEST("errors say where and what") {
  CHECK_EQUAL(skipped("[1 2]"), "byte 3: expected ',', found '2'");
  CHECK_EQUAL(skipped("{\"a\":1} x"), "byte 8: expected nothing after the value, found 'x'");
  CHECK_EQUAL(skipped("[\"\x01\"]"), "byte 2: a control character inside a string: byte value 1");
}

TEST("depth is bounded, and recursion is not used") {
  CHECK_EQUAL(skipped(nested(128)), "");
  CHECK_EQUAL(skipped(nested(129)), "byte 129: nested deeper than 128");
  CHECK_EQUAL(skipped(std::string(5'000'000, '[')), "byte 129: nested deeper than 128");
}

TEST("unsigned integers keep all 64 bits and nothing more") {
  const auto read = [](const std::string& text) {
    uint64_t value = 7;
    JsonReader reader(bytes_of(text), text.size());
    return reader.unsigned_integer(&value) && reader.end() ? std::to_string(value) : "refused";
  };
  CHECK_EQUAL(read("0"), "0");
  CHECK_EQUAL(read("18446744073709551615"), "18446744073709551615");
  for (const char* text : {"18446744073709551616", "184467440737095516150", "-1", "-0", "1.0", "1e3", "01", "\"1\"", "", "null"}) CHECK_EQUAL(read(text), "refused");
}

TEST("strings are decoded") {
  const std::string text = "\"a\\u00e9\\ud83d\\ude00\\u0000\\n\"";
  std::string value;
  JsonReader reader(bytes_of(text), text.size());
  CHECK(reader.string(&value));
  CHECK_EQUAL(value, std::string("a\xC3\xA9\xF0\x9F\x98\x80\0\n", 9));
}

TEST("UTF-8 is checked to the letter") {
  const auto first = [](const std::string& text) { return heddle::first_invalid_utf8(bytes_of(text), text.size()); };
  for (const char* text : {"", "plain", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
    CHECK_EQUAL(first(text), std::string(text).size());
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xE0\xA0", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x90\x80",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE1\x80\x41"})
    CHECK_EQUAL(first(std::string("ok") + text), size_t{2});
}

TEST("names in messages are short and harmless") {
  CHECK_EQUAL(heddle::quoted("a\"b\n"), "\"a\\\"b\\u000a\"");
  CHECK(heddle::quoted(std::string(1'000'000, 'n')).size() < 130);
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
