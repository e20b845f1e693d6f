// The shared memory of blocks, and what is known of each of its bytes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle::emulator {

struct Block;
struct Thread;

inline constexpr uint32_t kMostShared = 232448;       // per block of an H100; HEDDLE_EMULATOR_SHARED lowers it
inline constexpr uint32_t kMostStaticShared = 48 << 10;

struct SharedMemory {
  std::byte* bytes = nullptr;
  uint32_t dynamic_bytes = 0;
};

// Of the block that runs.
struct SharedView {
  std::byte* bytes = nullptr;
  uint32_t dynamic_bytes = 0;
};
extern __attribute__((visibility("hidden"))) SharedView shared_view;

SharedMemory* new_shared();
void start_launch_shared();                                 // forgets the static arrays of the launch before
void start_shared(SharedMemory* shared, size_t dynamic_bytes);
void use_shared(SharedMemory* shared);
void shared_barrier(Block* block);
void shared_warp_sync(Block* block, uint32_t warp, uint32_t mask);
uint32_t most_shared();

// A static array's place in the block: the same for every thread, found by the address of something that the declaration owns.
uint32_t place_static(const void* declaration, size_t bytes);

[[noreturn]] void fail_bounds(uint32_t offset, uint32_t begin, uint32_t end, uint32_t bytes, bool write);
[[noreturn]] void fail_alignment(uint32_t offset, uint32_t bytes, bool write);

}  // namespace heddle::emulator
