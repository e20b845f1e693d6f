#include "cuda/emulator/shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda/emulator/block.h"
#include "cuda/emulator/shared_memory.h"

namespace heddle::emulator {

namespace {

constexpr uint32_t kTick = 1u << kWhoBits;
constexpr uint32_t kLastTime = 0xffff0000u;
constexpr uint32_t kWords = kMostShared / 4;

uint32_t who(uint32_t entry) { return entry & kWhoMask; }
uint32_t warp_of(uint32_t reader) { return reader >= kSeveralLanes ? reader - kSeveralLanes : reader / 32; }

// Whether lanes of one warp have met since `entry`, so that it comes before what `thread` does now.
bool ordered_in_warp(const Shadow& shadow, uint32_t entry, uint32_t thread) {
  const uint32_t by = who(entry);
  if (by == kSeveralWarps || warp_of(by) != thread / 32) return false;
  const Warp& warp = shadow.block->warps[thread / 32];
  if (entry < warp.sync_time) return true;
  if (by >= kSeveralLanes || warp.met == nullptr) return false;
  return entry < (*warp.met)[thread % 32][by % 32];
}

[[noreturn]] void fail_race(const Access& access, bool write, uint32_t entry, bool entry_write) {
  const uint32_t by = who(entry);
  char other[64];
  if (by < kSeveralLanes) {
    snprintf(other, sizeof other, "thread %u", by);
  } else if (by == kSeveralWarps) {
    snprintf(other, sizeof other, "threads of several warps");
  } else {
    snprintf(other, sizeof other, "several lanes of warp %u", by - kSeveralLanes);
  }
  threadIdx.x = access.thread;
  fail_at(access.code, "race in shared memory: thread %u %s %u bytes at byte %u of an array, %s %s there and no barrier lies between", access.thread,
          write ? "writes" : "reads", access.bytes, access.offset - access.begin, other, entry_write ? "wrote" : "read");
}

[[noreturn]] void fail_pending(const Access& access, bool write) {
  threadIdx.x = access.thread;
  fail_at(access.code, "shared memory: %s of %u bytes at byte %u of an array where an asynchronous copy has not been waited for",
          write ? "write" : "read", access.bytes, access.offset - access.begin);
}

[[noreturn]] void fail_unwritten(const Access& access) {
  threadIdx.x = access.thread;
  fail_at(access.code, "shared memory: read of %u bytes at byte %u of an array, which nobody has written", access.bytes,
          access.offset - access.begin);
}

inline void read_entry(const Shadow& shadow, uint32_t written, uint32_t* read, const Access& access) {
  if (written - shadow.start >= shadow.barrier - shadow.start) {  // not: in this block, before the last barrier
    if (written == kPending) fail_pending(access, false);
    if (written < shadow.start) fail_unwritten(access);
    if (who(written) != access.thread && !ordered_in_warp(shadow, written, access.thread)) fail_race(access, false, written, true);
  }
  const uint32_t before = *read, mine = shadow.now | access.thread;
  const uint32_t by = who(before);
  if (before < shadow.barrier || by == access.thread) {
    *read = mine;
  } else if (by != kSeveralWarps) {
    if (warp_of(by) != access.thread / 32) {
      *read = shadow.now | kSeveralWarps;
    } else if (ordered_in_warp(shadow, before, access.thread)) {
      *read = mine;
    } else {
      *read = shadow.now | (kSeveralLanes + access.thread / 32);
    }
  }
}

inline void check_write_entry(const Shadow& shadow, uint32_t written, uint32_t read, const Access& access) {
  if (written >= shadow.barrier && who(written) != access.thread) {
    if (written == kPending) fail_pending(access, true);
    if (!ordered_in_warp(shadow, written, access.thread)) fail_race(access, true, written, true);
  }
  if (read >= shadow.barrier && who(read) != access.thread && !ordered_in_warp(shadow, read, access.thread)) fail_race(access, true, read, false);
}

void split(Shadow& shadow, uint32_t word) {
  if (shadow.word_writes[word] == kSplit) return;
  for (uint32_t i = 0; i < 4; i++) {
    shadow.byte_writes[word * 4 + i] = shadow.word_writes[word];
    shadow.byte_reads[word * 4 + i] = shadow.word_reads[word];
  }
  shadow.word_writes[word] = shadow.word_reads[word] = kSplit;
}

uint32_t* map_entries(size_t count) {
  void* memory = mmap(nullptr, count * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<uint32_t*>(memory);
}

// Times start again at the bottom. Within a warp the order of what happened since the last barrier is kept only roughly.
void compress(Shadow& shadow) {
  const auto again = [&](uint32_t* entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
      const uint32_t entry = entries[i];
      if (entry >= kPending) continue;
      entries[i] = entry < shadow.start ? 0 : (entry < shadow.barrier ? kTick : 2 * kTick) | who(entry);
    }
  };
  again(shadow.word_writes, kWords);
  again(shadow.word_reads, kWords);
  again(shadow.byte_writes, kMostShared);
  again(shadow.byte_reads, kMostShared);
  for (Warp& warp : shadow.block->warps) {
    const auto later = [&](uint32_t time) { return time > shadow.barrier ? 3 * kTick : 0; };
    warp.sync_time = later(warp.sync_time);
    if (warp.met == nullptr) continue;
    for (auto& row : *warp.met) {
      for (uint32_t& time : row) time = later(time);
    }
  }
  shadow.start = kTick;
  shadow.barrier = 2 * kTick;
  shadow.now = 3 * kTick;
}

void tick(Shadow& shadow) {
  shadow.now += kTick;
  if (shadow.now >= kLastTime) compress(shadow);
}

}  // namespace

void map_shadow(Shadow* shadow) {
  const char* checks = std::getenv("HEDDLE_EMULATOR_CHECKS");
  shadow->watching = checks == nullptr || std::strcmp(checks, "0") != 0;
  shadow->word_writes = map_entries(kWords);
  shadow->word_reads = map_entries(kWords);
  shadow->byte_writes = map_entries(kMostShared);
  shadow->byte_reads = map_entries(kMostShared);
}

void forget_shadow(Shadow* shadow) {
  std::memset(shadow->word_writes, 0, kWords * sizeof(uint32_t));
  std::memset(shadow->word_reads, 0, kWords * sizeof(uint32_t));
  shadow->now = shadow->start = shadow->barrier = 0;
}

void start_shadow(Shadow* shadow, Block* block) {
  shadow->block = block;
  if (shadow->now >= kLastTime / 2) forget_shadow(shadow);
  shadow->now += kTick;
  shadow->start = shadow->barrier = shadow->now;
}

void shadow_barrier(Shadow* shadow) {
  tick(*shadow);
  shadow->barrier = shadow->now;
}

void shadow_warp_sync(Shadow* shadow, uint32_t warp_number, uint32_t mask) {
  tick(*shadow);
  Block* block = shadow->block;
  Warp& warp = block->warps[warp_number];
  const uint32_t left = block->thread_count - warp_number * 32;
  const uint32_t all = left >= 32 ? 0xffffffffu : (1u << left) - 1;
  if (mask == all) {
    warp.sync_time = shadow->now;
    return;
  }
  if (warp.met == nullptr) warp.met = std::make_unique<LaneTimes>();
  LaneTimes& met = *warp.met;
  // What one of them knew to be over, all of them know now.
  uint32_t latest[32] = {};
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto& known = met[static_cast<size_t>(__builtin_ctz(rest))];
    for (size_t lane = 0; lane < 32; lane++) latest[lane] = std::max(latest[lane], known[lane]);
  }
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) latest[__builtin_ctz(rest)] = shadow->now;
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) std::copy(latest, latest + 32, met[static_cast<size_t>(__builtin_ctz(rest))].begin());
}

void check_read(Shadow* shadow, const Access& access) {
  if (!shadow->watching) return;
  if ((access.offset | access.bytes) % 4 == 0) {
    const uint32_t end = (access.offset + access.bytes) / 4;
    for (uint32_t word = access.offset / 4; word < end; word++) {
      if (shadow->word_writes[word] != kSplit) {
        read_entry(*shadow, shadow->word_writes[word], &shadow->word_reads[word], access);
      } else {
        for (uint32_t i = word * 4; i < word * 4 + 4; i++) read_entry(*shadow, shadow->byte_writes[i], &shadow->byte_reads[i], access);
      }
    }
    return;
  }
  for (uint32_t i = access.offset; i < access.offset + access.bytes; i++) {
    split(*shadow, i / 4);
    read_entry(*shadow, shadow->byte_writes[i], &shadow->byte_reads[i], access);
  }
}

void check_write(Shadow* shadow, const Access& access) {
  if (!shadow->watching) return;
  const uint32_t mine = shadow->now | access.thread;
  if ((access.offset | access.bytes) % 4 == 0) {
    const uint32_t end = (access.offset + access.bytes) / 4;
    for (uint32_t word = access.offset / 4; word < end; word++) {
      if (shadow->word_writes[word] != kSplit) {
        check_write_entry(*shadow, shadow->word_writes[word], shadow->word_reads[word], access);
      } else {
        for (uint32_t i = word * 4; i < word * 4 + 4; i++) check_write_entry(*shadow, shadow->byte_writes[i], shadow->byte_reads[i], access);
        shadow->word_reads[word] = 0;
      }
      shadow->word_writes[word] = mine;
    }
    return;
  }
  for (uint32_t i = access.offset; i < access.offset + access.bytes; i++) {
    split(*shadow, i / 4);
    check_write_entry(*shadow, shadow->byte_writes[i], shadow->byte_reads[i], access);
    shadow->byte_writes[i] = mine;
  }
}

void check_pending(Shadow* shadow, const Access& access) {
  check_write(shadow, access);
  for (uint32_t word = access.offset / 4; word < (access.offset + access.bytes) / 4; word++) shadow->word_writes[word] = kPending;
}

void land_pending(Shadow* shadow, uint32_t offset, uint32_t bytes, uint32_t thread) {
  for (uint32_t word = offset / 4; word < (offset + bytes) / 4; word++) shadow->word_writes[word] = shadow->now | thread;
}

void drop_pending(Shadow* shadow, uint32_t offset, uint32_t bytes) {
  for (uint32_t word = offset / 4; word < (offset + bytes) / 4; word++) shadow->word_writes[word] = 0;
}

}  // namespace heddle::emulator
