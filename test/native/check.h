// The smallest test harness that tells what failed and where, and keeps going.
//
//   TEST("adds") { CHECK_EQUAL(1 + 1, 2); }
//   int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
#pragma once
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

namespace heddle::test {

struct Case {
  const char* name;
  void (*body)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline std::vector<std::string>& program_arguments() {
  static std::vector<std::string> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Registration {
  Registration(const char* name, void (*body)()) { cases().push_back({name, body}); }
};

inline void report(const char* file, int line, const std::string& message) {
  failures()++;
  std::fprintf(stderr, "  %s:%d: %s\n", file, line, message.c_str());
}

template <class Left, class Right>
void check_equal(const char* file, int line, const char* expression, const Left& left, const Right& right) {
  if (left == right) return;
  std::ostringstream text;
  text << expression << " is " << left << ", expected " << right;
  report(file, line, text.str());
}

// Prints "N passed, M failed"; the exit status says whether all passed.
inline int run_all(int count, char** arguments) {
  for (int i = 1; i < count; i++) program_arguments().push_back(arguments[i]);
  int passed = 0, failed = 0;
  for (const Case& test : cases()) {
    const int before = failures();
    try {
      test.body();
    } catch (const std::exception& error) {
      report(test.name, 0, std::string("threw ") + error.what());
    }
    const bool ok = failures() == before;
    ++(ok ? passed : failed);
    std::printf("%s %s\n", ok ? "ok  " : "FAIL", test.name);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace heddle::test

#define HEDDLE_JOIN_(a, b) a##b
#define HEDDLE_JOIN(a, b) HEDDLE_JOIN_(a, b)
#define TEST(name) HEDDLE_TEST_(name, HEDDLE_JOIN(test_, __LINE__), HEDDLE_JOIN(registration_, __LINE__))
#define HEDDLE_TEST_(name, body, registration)                    \
  static void body();                                             \
  static const heddle::test::Registration registration(name, body); \
  static void body()
#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) heddle::test::report(__FILE__, __LINE__, "false: " #condition); \
  } while (0)
#define CHECK_EQUAL(left, right) heddle::test::check_equal(__FILE__, __LINE__, #left, left, right)
