#include "cuda/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace heddle::emulator {

namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr size_t kGuardBytes = 4096;
constexpr int kStacksPerChunk = 64;
constexpr int kMostChunks = 4096;

Stack* free_stacks = nullptr;
std::byte* chunks[kMostChunks];
int chunk_count = 0;

bool add_chunk() {
  if (chunk_count == kMostChunks) return false;
  constexpr size_t bytes = kStacksPerChunk * (kStackBytes + kGuardBytes);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  auto* low = static_cast<std::byte*>(memory);
  chunks[chunk_count++] = low;
  auto* stacks = new Stack[kStacksPerChunk];
  for (int i = kStacksPerChunk - 1; i >= 0; i--) {
    stacks[i].low = low + static_cast<size_t>(i) * (kStackBytes + kGuardBytes);
    mprotect(stacks[i].low, kGuardBytes, PROT_NONE);
    give_back_stack(&stacks[i]);
  }
  return true;
}

}  // namespace

Stack* take_stack() {
  if (free_stacks == nullptr && !add_chunk()) return nullptr;
  Stack* stack = free_stacks;
  free_stacks = stack->next;
  return stack;
}

void give_back_stack(Stack* stack) {
  stack->next = free_stacks;
  free_stacks = stack;
}

bool is_stack_guard(const void* address) {
  const auto* at = static_cast<const std::byte*>(address);
  for (int i = 0; i < chunk_count; i++) {
    if (at < chunks[i] || at >= chunks[i] + kStacksPerChunk * (kStackBytes + kGuardBytes)) continue;
    return static_cast<size_t>(at - chunks[i]) % (kStackBytes + kGuardBytes) < kGuardBytes;
  }
  return false;
}

#if defined(__x86_64__)

extern "C" void heddle_emulator_switch(void** from, void* to) __attribute__((visibility("hidden")));

// Saves what the System V ABI lets a callee rely on; the rounding mode is the same everywhere.
asm(R"(
.text
.p2align 4
.hidden heddle_emulator_switch
.globl heddle_emulator_switch
.type heddle_emulator_switch,@function
heddle_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size heddle_emulator_switch,.-heddle_emulator_switch
)");

void prepare(Context* context, Stack* stack, void (*entry)()) {
  auto** top = reinterpret_cast<void**>(stack->low + kGuardBytes + kStackBytes);
  top[-1] = nullptr;  // where entry would return to
  top[-2] = reinterpret_cast<void*>(entry);
  for (int i = 3; i <= 8; i++) top[-i] = nullptr;
  context->stack_pointer = top - 8;
}

void switch_context(Context* from, Context* to) { heddle_emulator_switch(&from->stack_pointer, to->stack_pointer); }

#else

void prepare(Context* context, Stack* stack, void (*entry)()) {
  getcontext(&context->state);
  context->state.uc_stack.ss_sp = stack->low + kGuardBytes;
  context->state.uc_stack.ss_size = kStackBytes;
  context->state.uc_link = nullptr;
  makecontext(&context->state, entry, 0);
}

void switch_context(Context* from, Context* to) { swapcontext(&from->state, &to->state); }

#endif

}  // namespace heddle::emulator
