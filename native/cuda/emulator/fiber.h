// Stacks of their own for the emulated threads, and going from one to another.
#pragma once
#include <cstddef>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace heddle::emulator {

// A place in some stack where execution can go on.
struct Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t state;
#endif
};

// Memory for a stack, with a page below it that may not be touched. Stacks are kept and used again.
struct Stack {
  std::byte* low = nullptr;  // of the guard page
  Stack* next = nullptr;
};

Stack* take_stack();
void give_back_stack(Stack* stack);  // it may still be in use until the next switch
bool is_stack_guard(const void* address);

// Makes `context` start `entry` on `stack`; entry never returns.
void prepare(Context* context, Stack* stack, void (*entry)());
// Goes on at `to`; comes back when somebody switches to `from`.
void switch_context(Context* from, Context* to);

}  // namespace heddle::emulator
