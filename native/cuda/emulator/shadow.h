// What is known of each byte of a block's shared memory: who wrote it and who read it last, and when.
//
// An access is remembered as time << 11 | who. The block's clock ticks at every barrier and __syncwarp, so that "before the last
// barrier" is a comparison. Words are remembered as a whole until something smaller than a word touches them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle::emulator {

struct Block;

struct Shadow {
  uint32_t* word_writes = nullptr;
  uint32_t* word_reads = nullptr;
  uint32_t* byte_writes = nullptr;  // of words that are split
  uint32_t* byte_reads = nullptr;
  Block* block = nullptr;
  bool watching = true;  // HEDDLE_EMULATOR_CHECKS=0: only bounds and alignment are checked, for long runs of proven kernels
  uint32_t start = 0;    // entries below are of blocks before this one
  uint32_t barrier = 0;  // entries below are ordered before everything that happens now
  uint32_t now = 0;      // time << 11
};

// An entry below kSplit is time << kWhoBits | who.
inline constexpr uint32_t kWhoBits = 11, kWhoMask = (1u << kWhoBits) - 1;
inline constexpr uint32_t kSeveralLanes = 1024;     // + warp: read by several lanes of it
inline constexpr uint32_t kSeveralWarps = 1056;     // read by threads of several warps
inline constexpr uint32_t kSplit = 0xffffffffu;     // the word's bytes have their own entries
inline constexpr uint32_t kPending = 0xfffffffeu;   // a copy that was not waited for will write here

// The usual cases: what the last barrier ordered, and threads that keep to themselves. False: it takes a closer look.
inline bool read_quickly(const Shadow& shadow, uint32_t written, uint32_t* read, uint32_t thread) {
  const uint32_t before = *read;
  const bool alone = before < shadow.barrier || (before & kWhoMask) == thread;
  if (written - shadow.start >= shadow.barrier - shadow.start) {
    if ((written & kWhoMask) != thread || written < shadow.start) return false;
  }
  if (alone) {
    *read = shadow.now | thread;
    return true;
  }
  return (before & kWhoMask) == kSeveralWarps;
}
inline bool may_write(const Shadow& shadow, uint32_t written, uint32_t read, uint32_t thread) {
  return (written < shadow.barrier || (written & kWhoMask) == thread) && (read < shadow.barrier || (read & kWhoMask) == thread);
}

void map_shadow(Shadow* shadow);
void start_shadow(Shadow* shadow, Block* block);
void forget_shadow(Shadow* shadow);  // everything, also copies under way

// The block's threads have met; some lanes of a warp have.
void shadow_barrier(Shadow* shadow);
void shadow_warp_sync(Shadow* shadow, uint32_t warp, uint32_t mask);

// An access of the block that runs, by `thread`; `begin` is the array's first byte, `code` where the kernel's code stands.
struct Access {
  uint32_t offset, bytes, begin, thread;
  const void* code;
};
void check_read(Shadow* shadow, const Access& access);
void check_write(Shadow* shadow, const Access& access);

template <uint32_t Bytes>
inline void quick_read(Shadow* shadow, const Access& access) {
  if (!shadow->watching) return;
  const uint32_t first = access.offset / 4;
  if (Bytes % 4 == 0 && access.offset % 4 == 0) {
    bool known = true;
    for (uint32_t i = 0; i < Bytes / 4; i++) known &= read_quickly(*shadow, shadow->word_writes[first + i], &shadow->word_reads[first + i], access.thread);
    if (__builtin_expect(known, 1)) return;
  } else if (Bytes < 4 && shadow->word_writes[first] == kSplit) {
    bool known = true;
    for (uint32_t i = access.offset; i < access.offset + Bytes; i++) known &= read_quickly(*shadow, shadow->byte_writes[i], &shadow->byte_reads[i], access.thread);
    if (__builtin_expect(known, 1)) return;
  }
  check_read(shadow, access);
}

template <uint32_t Bytes>
inline void quick_write(Shadow* shadow, const Access& access) {
  if (!shadow->watching) return;
  const uint32_t first = access.offset / 4, mine = shadow->now | access.thread;
  if (Bytes % 4 == 0 && access.offset % 4 == 0) {
    bool known = true;
    for (uint32_t i = 0; i < Bytes / 4; i++) known &= may_write(*shadow, shadow->word_writes[first + i], shadow->word_reads[first + i], access.thread);
    if (__builtin_expect(known, 1)) {
      for (uint32_t i = 0; i < Bytes / 4; i++) shadow->word_writes[first + i] = mine;
      return;
    }
  } else if (Bytes < 4 && shadow->word_writes[first] == kSplit) {
    bool known = true;
    for (uint32_t i = access.offset; i < access.offset + Bytes; i++) known &= may_write(*shadow, shadow->byte_writes[i], shadow->byte_reads[i], access.thread);
    if (__builtin_expect(known, 1)) {
      for (uint32_t i = access.offset; i < access.offset + Bytes; i++) shadow->byte_writes[i] = mine;
      return;
    }
  }
  check_write(shadow, access);
}

// Bytes (whole words) that a copy under way will write; that it has written; that nobody writes any more.
void check_pending(Shadow* shadow, const Access& access);
void land_pending(Shadow* shadow, uint32_t offset, uint32_t bytes, uint32_t thread);
void drop_pending(Shadow* shadow, uint32_t offset, uint32_t bytes);

}  // namespace heddle::emulator
