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
  uint32_t start = 0;    // entries below are of blocks before this one
  uint32_t barrier = 0;  // entries below are ordered before everything that happens now
  uint32_t now = 0;      // time << 11
};

Shadow* new_shadow();
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
// Bytes (whole words) that a copy under way will write; that it has written; that nobody writes any more.
void check_pending(Shadow* shadow, const Access& access);
void land_pending(Shadow* shadow, uint32_t offset, uint32_t bytes, uint32_t thread);
void drop_pending(Shadow* shadow, uint32_t offset, uint32_t bytes);

}  // namespace heddle::emulator
