#include "cuda/emulator/block.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "cuda/emulator/shared_memory.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace heddle::emulator {

Scheduler scheduler;

namespace {

constexpr uint64_t kIdleRounds = 2000;  // in which every live thread only waits, before the launch counts as stuck

std::vector<Block*> pool;        // one per block that may be alive at once
std::vector<Block*> live;        // of this launch
size_t live_at = 0;
uint64_t idle_rounds = 0, progress_seen = 0;

uint64_t next_random() {
  uint64_t& state = scheduler.random;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state * 0x2545f4914f6cdd1dull >> 16;
}

uint32_t choose_bit(uint32_t bits) {
  if (scheduler.random == 0) return static_cast<uint32_t>(__builtin_ctz(bits));
  for (uint32_t skip = static_cast<uint32_t>(next_random() % static_cast<uint32_t>(__builtin_popcount(bits))); skip > 0; skip--) bits &= bits - 1;
  return static_cast<uint32_t>(__builtin_ctz(bits));
}

void enter_block(Block* block) {
  scheduler.block = block;
  blockIdx = block->index;
  shared_memory = block->shared;
}

// Threads that let others go first, once nobody else in the launch is ready.
bool wake_yielded() {
  if (progress_seen != scheduler.progress) {
    progress_seen = scheduler.progress;
    idle_rounds = 0;
  }
  if (idle_rounds >= kIdleRounds) return false;
  idle_rounds++;
  bool any = false;
  for (Block* block : live) {
    for (uint32_t w = 0; w < block->warp_count; w++) {
      const uint32_t lanes = block->warps[w].yielded;
      if (lanes == 0) continue;
      any = true;
      block->warps[w].yielded = 0;
      make_ready(block, w, lanes);
    }
  }
  return any;
}

Block* next_block() {
  for (int round = 0; round < 2; round++) {
    for (size_t i = 1; i <= live.size(); i++) {
      Block* block = live[(live_at + i) % live.size()];
      if (block->ready_warps == 0) continue;
      live_at = (live_at + i) % live.size();
      return block;
    }
    if (round == 0 && !wake_yielded()) return nullptr;
  }
  return nullptr;
}

// The next thread to run, taken from the ready ones and made current; nullptr: none is ready.
Thread* next_thread() {
  Block* block = scheduler.block;
  uint32_t w = scheduler.warp;
  if (scheduler.random != 0 || block->warps[w].ready == 0) {
    if (block->ready_warps == 0) {
      block = next_block();
      if (block == nullptr) return nullptr;
      if (block != scheduler.block) enter_block(block);
    }
    w = choose_bit(block->ready_warps);
  }
  Warp& warp = block->warps[w];
  const uint32_t lane = choose_bit(warp.ready);
  warp.ready &= ~(1u << lane);
  if (warp.ready == 0) block->ready_warps &= ~(1u << w);
  Thread* thread = &block->threads[w * 32 + lane];
  scheduler.warp = w;
  scheduler.thread = thread;
  threadIdx.x = thread->index;
  return thread;
}

void exit_thread() {
  Thread* thread = scheduler.thread;
  Block* block = scheduler.block;
  if (block->arrived > 0)
    fail_thread("this thread ends while %u threads of its block wait in __syncthreads at %s:%d", block->arrived, block->barrier_site.file,
                block->barrier_site.line);
  thread->state = ThreadState::kExited;
  block->alive--;
  block->exited++;
  block->warps[thread->index / 32].exited |= 1u << thread->index % 32;
  scheduler.progress++;
  drop_copies(thread);
}

void run_threads() {
  for (;;) {
    scheduler.launch->body();
    exit_thread();
    Thread* ended = scheduler.thread;
    Thread* next = next_thread();
    if (next != nullptr && next->state == ThreadState::kNew) {  // goes on in the same stack
      next->stack = ended->stack;
      next->state = ThreadState::kReady;
      continue;
    }
    give_back_stack(ended->stack);
    if (next == nullptr) scheduler.thread = nullptr;
    switch_context(&ended->context, next == nullptr ? &scheduler.host : &next->context);
  }
}

bool start(Thread* thread) {
  thread->stack = take_stack();
  if (thread->stack == nullptr) return false;
  thread->state = ThreadState::kReady;
  prepare(&thread->context, thread->stack, run_threads);
  return true;
}

void prepare_block(Block* block, const Launch& launch, uint64_t number) {
  block->index.x = static_cast<unsigned>(number % launch.grid.x);
  block->index.y = static_cast<unsigned>(number / launch.grid.x % launch.grid.y);
  block->index.z = static_cast<unsigned>(number / launch.grid.x / launch.grid.y);
  if (block->threads.size() < launch.threads) {
    block->threads.resize(launch.threads);
    for (size_t i = 0; i < block->threads.size(); i++) block->threads[i].index = static_cast<uint32_t>(i);
  }
  block->thread_count = block->alive = launch.threads;
  block->warp_count = (launch.threads + 31) / 32;
  block->exited = block->arrived = 0;
  block->arrived_true = 0;
  block->ready_warps = 0;
  for (uint32_t t = 0; t < launch.threads; t++) {
    block->threads[t].state = ThreadState::kNew;
    block->threads[t].block = block;
    block->threads[t].copies.clear();
    block->threads[t].copy_groups = 0;
  }
  for (uint32_t w = 0; w < block->warp_count; w++) {
    const uint32_t lanes = w * 32 + 32 <= launch.threads ? 0xffffffffu : (1u << launch.threads % 32) - 1;
    Warp& warp = block->warps[w];
    warp.ready = warp.waiting = warp.yielded = warp.sync_time = 0;
    warp.exited = ~lanes;
    if (warp.met != nullptr) *warp.met = LaneTimes{};
    make_ready(block, w, lanes);
  }
  start_shared(block, launch.dynamic_shared);
}

const char* state_name(ThreadState state) {
  switch (state) {
    case ThreadState::kBarrier: return "wait in __syncthreads";
    case ThreadState::kWarp: return "wait for lanes of their warp";
    case ThreadState::kYielded: return "wait for other blocks";
    case ThreadState::kExited: return "have ended";
    default: return "are ready";
  }
}

// Nobody can go on although threads are alive.
void report_stuck() {
  scheduler.failed = true;
  for (Block* block : live) {
    if (block->alive == 0) continue;
    int counts[6] = {};
    const Thread* first[6] = {};
    for (uint32_t t = 0; t < block->thread_count; t++) {
      const int state = static_cast<int>(block->threads[t].state);
      if (counts[state]++ == 0) first[state] = &block->threads[t];
    }
    int length = snprintf(scheduler.message, sizeof scheduler.message, "[%s] block (%u, %u, %u) cannot go on:", scheduler.launch->op.c_str(),
                          block->index.x, block->index.y, block->index.z);
    for (int state = 0; state < 6; state++) {
      if (counts[state] == 0) continue;
      length += snprintf(scheduler.message + length, sizeof scheduler.message - length, " %d threads (first: %u) %s", counts[state],
                         first[state]->index, state_name(static_cast<ThreadState>(state)));
      if (static_cast<ThreadState>(state) == ThreadState::kBarrier)
        length += snprintf(scheduler.message + length, sizeof scheduler.message - length, " at %s:%d", block->barrier_site.file, block->barrier_site.line);
      if (static_cast<ThreadState>(state) == ThreadState::kWarp)
        length += snprintf(scheduler.message + length, sizeof scheduler.message - length, " at %s:%d with mask 0x%08x", first[state]->request.site.file,
                           first[state]->request.site.line, first[state]->request.mask);
      length += snprintf(scheduler.message + length, sizeof scheduler.message - length, ";");
    }
    return;
  }
}

// Runs the live blocks to their end.
void run_live(const Launch& launch) {
  enter_block(live[0]);
  live_at = 0;
  scheduler.warp = 0;
  idle_rounds = 0;
  while (!scheduler.failed) {
    Thread* thread = next_thread();
    if (thread == nullptr) break;
    if (thread->state == ThreadState::kNew && !start(thread)) {
      snprintf(scheduler.message, sizeof scheduler.message, "[%s] no memory for another thread's stack", launch.op.c_str());
      scheduler.failed = true;
      break;
    }
    switch_context(&scheduler.host, &thread->context);
  }
  scheduler.thread = nullptr;
  bool alive = false;
  for (Block* block : live) alive = alive || block->alive > 0;
  if (alive && !scheduler.failed) report_stuck();
  if (!alive) return;
  for (Block* block : live) {
    forget_shared(block->shared);
    for (uint32_t t = 0; t < block->thread_count; t++) {
      Thread& left = block->threads[t];
      if (left.state != ThreadState::kNew && left.state != ThreadState::kExited) give_back_stack(left.stack);
    }
  }
}

}  // namespace

void make_ready(Block* block, uint32_t warp, uint32_t lanes) {
  if (lanes == 0) return;
  block->warps[warp].ready |= lanes;
  block->ready_warps |= 1u << warp;
}

void leave_thread() {
  Thread* self = scheduler.thread;
  Thread* next = next_thread();
  if (next == self) return;
  if (next == nullptr) {
    scheduler.thread = nullptr;
    switch_context(&self->context, &scheduler.host);
    return;
  }
  if (next->state == ThreadState::kNew && !start(next)) {
    fail_thread("no memory for another thread's stack");
  }
  switch_context(&self->context, &next->context);
}

void yield() {
  Thread* self = scheduler.thread;
  self->state = ThreadState::kYielded;
  self->block->warps[self->index / 32].yielded |= 1u << self->index % 32;
  leave_thread();
  self->state = ThreadState::kReady;
}

void check_atomic(const void* at, size_t bytes) {
  scheduler.progress++;
  if ((reinterpret_cast<uintptr_t>(at) & (bytes - 1)) != 0) fail_thread("misaligned atomic access of %zu bytes at %p", bytes, at);
}

namespace {

[[noreturn]] void end_launch(const void* code, const char* message, va_list arguments) {
  char* text = scheduler.message;
  const size_t size = sizeof scheduler.message;
  size_t length = 0;
  const auto add = [&](int written) { length = std::min(size - 1, length + static_cast<size_t>(written < 0 ? 0 : written)); };
  scheduler.failed = true;
  add(snprintf(text, size, "[%s] block (%u, %u, %u) thread %u: ", scheduler.launch->op.c_str(), blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x));
  add(vsnprintf(text + length, size - length, message, arguments));
  Dl_info place;
  if (code != nullptr && dladdr(code, &place) != 0 && place.dli_fname != nullptr) {
    const auto offset = static_cast<size_t>(static_cast<const char*>(code) - static_cast<const char*>(place.dli_fbase));
    add(snprintf(text + length, size - length, "; addr2line -Cipfe %s 0x%zx", place.dli_fname, offset - 1));
  }
  Thread* self = scheduler.thread;
  scheduler.thread = nullptr;
  for (;;) switch_context(&self->context, &scheduler.host);
}

}  // namespace

void fail_thread(const char* message, ...) {
  va_list arguments;
  va_start(arguments, message);
  end_launch(nullptr, message, arguments);
}

void fail_at(const void* code, const char* message, ...) {
  va_list arguments;
  va_start(arguments, message);
  end_launch(code, message, arguments);
}

bool run_launch(const Launch& launch, uint64_t seed) {
  const uint64_t blocks = static_cast<uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
  const uint64_t at_once = launch.cooperative ? blocks : 1;
  while (pool.size() < at_once) {
    pool.push_back(new Block());
    pool.back()->shared = new_shared();
  }
  scheduler.launch = &launch;
  scheduler.failed = scheduler.bad_access = false;
  scheduler.random = seed == 0 ? 0 : seed * 0x9e3779b97f4a7c15ull | 1;
  blockDim = dim3(launch.threads);
  gridDim = launch.grid;
  threadIdx = uint3{};
  start_launch_shared();
  // With a seed, blocks come in the order of a walk through all of them by a stride without a common divisor.
  uint64_t stride = 1, at = 0;
  if (seed != 0 && blocks > 1) {
    const auto divisor = [](uint64_t a, uint64_t b) {
      while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
      }
      return a;
    };
    at = next_random() % blocks;
    do {
      stride = 1 + next_random() % blocks;
    } while (divisor(stride, blocks) != 1);
  }
  for (uint64_t done = 0; done < blocks && !scheduler.failed; done += at_once) {
    live.clear();
    for (uint64_t i = 0; i < at_once; i++) {
      prepare_block(pool[i], launch, at);
      at = (at + stride) % blocks;
      live.push_back(pool[i]);
    }
    run_live(launch);
  }
  scheduler.launch = nullptr;
  return !scheduler.failed;
}

}  // namespace heddle::emulator
