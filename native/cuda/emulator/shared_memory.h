// The shared memory of blocks, and what is known of each of its bytes.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cuda/emulator/shadow.h"

namespace heddle::emulator {

struct Block;
struct Thread;

inline constexpr uint32_t kMostShared = 232448;       // per block of an H100; HEDDLE_EMULATOR_SHARED lowers it
inline constexpr uint32_t kMostStaticShared = 48 << 10;

// Bytes from the start of the block's shared memory, and of the array that it may touch.
struct SharedAddress {
  uint32_t offset = 0, begin = 0, end = 0;
};

struct SharedMemory {
  std::byte* bytes = nullptr;
  uint32_t dynamic_bytes = 0;
  Shadow shadow;
};
extern __attribute__((visibility("hidden"))) SharedMemory* shared_memory;  // of the block that runs

SharedMemory* new_shared();
void start_launch_shared();                              // forgets the static arrays of the launch before
void start_shared(Block* block, size_t dynamic_bytes);
void forget_shared(SharedMemory* shared);                // after a block that did not come to its end
void drop_copies(Thread* thread);                        // at the thread's end: nobody waits for them any more
uint32_t most_shared();

// A static array's place in the block: the same for every thread, found by the address of something that the declaration owns.
uint32_t place_static(const void* declaration, size_t bytes);

// Checks an access and gives the bytes; `alignment` is what the instruction asks for. Bytes: 1, 2, 4, 8, 16, or 0 for any other
// number, which is then in `count`.
template <uint32_t Bytes>
const std::byte* read_shared(SharedAddress at, uint32_t alignment, uint32_t thread, uint32_t count = Bytes);
template <uint32_t Bytes>
std::byte* write_shared(SharedAddress at, uint32_t alignment, uint32_t count = Bytes);

}  // namespace heddle::emulator
