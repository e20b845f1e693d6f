// What a running kernel thread asks of the emulator: to meet its block, to exchange values with its warp, to let others go first.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle::emulator {

// Where in the source a thread waits, for messages and to tell two barriers apart.
struct Site {
  const char* file;
  int line;
};

enum class BarrierKind : uint8_t { kPlain, kOr, kAnd, kCount };

// Until every thread of the block has come; the number of threads whose predicate is 1.
int barrier(BarrierKind kind, int predicate, Site site);

enum class WarpKind : uint8_t { kSync, kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kBallot, kMatch, kMma, kLoadMatrix };

constexpr int64_t pack_shuffle(int argument, int width) {
  return static_cast<int64_t>(static_cast<uint64_t>(static_cast<uint32_t>(argument)) | static_cast<uint64_t>(static_cast<uint32_t>(width)) << 32);
}

// Until every lane in `mask` has come with the same kind and mask; this lane's result.
uint64_t warp_exchange(WarpKind kind, uint32_t mask, uint64_t value, int64_t argument, Site site);

// Other threads, and in a cooperative launch other blocks, go first.
void yield();

// The thread's launch ends with an error; `message` is printf's. Never comes back.
[[noreturn]] void fail_thread(const char* message, ...) __attribute__((format(printf, 1, 2)));
// The same, saying where in the library `code` lies (addr2line turns that into a line).
[[noreturn]] void fail_at(const void* code, const char* message, ...) __attribute__((format(printf, 2, 3)));

// An atomic access: aligned, and progress that a waiting block may see.
void check_atomic(const void* at, size_t bytes);

}  // namespace heddle::emulator
