#include "cuda/emulator/device_memory.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "cuda/emulator/block.h"

namespace heddle::emulator {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 16;
constexpr size_t kSignalStackBytes = 64 << 10;
constexpr int kCanary = 0xa5, kFresh = 0xff;

struct Allocation {
  std::byte* region;   // guard page, memory, guard page
  size_t region_bytes;
  size_t bytes;        // asked for; the slack up to a multiple of 16 holds canaries
};

std::map<uintptr_t, Allocation> allocations;  // by first byte
std::map<uintptr_t, size_t> pinned;           // by first byte
std::map<uintptr_t, size_t> pinned_by_us;
size_t used = 0;

struct sigaction previous_segv, previous_bus;
bool handler_installed = false;
int access_depth = 0;
pthread_t runner;  // the host thread that runs kernels
std::byte* signal_stack = nullptr;
stack_t stack_before;

// Closing device memory to the host's code costs a system call per allocation: without HEDDLE_EMULATOR_PROTECT only the first
// synchronisations of a process pay that.
constexpr int kProtectedRuns = 256;
int runs = 0;
bool closed = false;

bool protecting() {
  static const int wanted = [] {
    const char* text = std::getenv("HEDDLE_EMULATOR_PROTECT");
    return text == nullptr ? kProtectedRuns : std::strcmp(text, "0") == 0 ? 0 : INT_MAX;
  }();
  return runs < wanted;
}

void set_access(const Allocation& allocation, int access) {
  mprotect(allocation.region + kPage, allocation.region_bytes - 2 * kPage, access);
}

size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

const std::pair<const uintptr_t, Allocation>* nearest(uintptr_t address) {
  const std::pair<const uintptr_t, Allocation>* best = nullptr;
  size_t best_distance = SIZE_MAX;
  for (const auto& entry : allocations) {
    const uintptr_t first = entry.first, end = first + entry.second.bytes;
    const size_t distance = address < first ? first - address : address >= end ? address - end : 0;
    if (distance < best_distance) {
      best_distance = distance;
      best = &entry;
    }
  }
  return best;
}

bool in_region(uintptr_t address) {
  for (const auto& [first, allocation] : allocations) {
    const auto low = reinterpret_cast<uintptr_t>(allocation.region);
    if (address >= low && address < low + allocation.region_bytes) return true;
  }
  return false;
}

uintptr_t fault_address = 0;
const void* fault_code = nullptr;
bool fault_is_write = false;

// Runs on the thread's own stack after the signal.
void land_after_fault() {
  scheduler.bad_access = true;
  if (fault_address < kPage * 16) fail_at(fault_code, "%s at address %p, near null", fault_is_write ? "write" : "read", reinterpret_cast<void*>(fault_address));
  const auto* near = nearest(fault_address);
  if (near == nullptr) fail_at(fault_code, "%s at address %p, but no device memory is allocated", fault_is_write ? "write" : "read", reinterpret_cast<void*>(fault_address));
  const auto relative = static_cast<long long>(fault_address - near->first);
  fail_at(fault_code, "%s of global memory at byte %lld of the nearest allocation, which has %zu bytes (at %p)", fault_is_write ? "write" : "read",
              relative, near->second.bytes, reinterpret_cast<void*>(near->first));
}

void land_after_overflow() { fail_at(fault_code, "this thread's stack overflowed"); }

void pass_on(int number, siginfo_t* info, void* context) {
  const struct sigaction& before = number == SIGBUS ? previous_bus : previous_segv;
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(number, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(number);
  sigaction(number, &before, nullptr);  // the access repeats and ends the process
}

#if defined(__aarch64__) && defined(__linux__)
// Whether a load or store of A64 writes: signal frames need not say it. Atomics, which do both, may count as either.
bool writes(const void* code) {
  uint32_t instruction;
  std::memcpy(&instruction, code, sizeof instruction);
  const bool one_register = (instruction & 0x3a000000u) == 0x38000000u;
  if (!one_register) return (instruction >> 22 & 1u) == 0;  // pairs, structures, exclusive accesses
  const uint32_t kind = instruction >> 22 & 3u;
  const bool sixteen_bytes = (instruction & 0xc4000000u) == 0x04000000u;
  return kind == 0 || (kind == 2 && sixteen_bytes);
}
#endif

void handle_fault(int number, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  auto* state = static_cast<ucontext_t*>(context);
  // A wild address that no allocation owns is the kernel's as well, while a kernel's thread runs.
  if (scheduler.thread == nullptr || pthread_equal(runner, pthread_self()) == 0) {
    if (in_region(address)) {
      const auto* near = nearest(address);
      fprintf(stderr, "emulated CUDA device: the host touches device memory at byte %lld of an allocation of %zu bytes\n",
              static_cast<long long>(address - near->first), near->second.bytes);
    }
    return pass_on(number, info, context);
  }
  const bool overflow = is_stack_guard(info->si_addr);
  fault_address = address;
#if defined(__x86_64__)
  fault_is_write = (state->uc_mcontext.gregs[REG_ERR] & 2) != 0;
  auto& stack_pointer = state->uc_mcontext.gregs[REG_RSP];
  stack_pointer = overflow ? reinterpret_cast<greg_t>(scheduler.thread->stack->low + kPage + (32 << 10)) : ((stack_pointer - 256) & ~static_cast<greg_t>(15));
  stack_pointer -= 8;  // as after a call
  fault_code = reinterpret_cast<const void*>(state->uc_mcontext.gregs[REG_RIP] + 1);
  state->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(overflow ? land_after_overflow : land_after_fault);
#elif defined(__aarch64__) && defined(__linux__)
  fault_is_write = writes(reinterpret_cast<const void*>(state->uc_mcontext.pc));
  auto& stack_pointer = state->uc_mcontext.sp;
  stack_pointer = overflow ? reinterpret_cast<uintptr_t>(scheduler.thread->stack->low + kPage + (32 << 10)) : ((stack_pointer - 256) & ~uintptr_t{15});
  fault_code = reinterpret_cast<const void*>(state->uc_mcontext.pc + 1);
  state->uc_mcontext.pc = reinterpret_cast<uintptr_t>(overflow ? land_after_overflow : land_after_fault);
#else
  return pass_on(number, info, context);
#endif
}

void install_handler() {
  if (handler_installed) return;
  handler_installed = true;
  struct sigaction action = {};
  action.sa_sigaction = handle_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, &previous_segv);
  sigaction(SIGBUS, &action, &previous_bus);
}

}  // namespace

size_t device_bytes_total() {
  const char* wanted = std::getenv("HEDDLE_EMULATOR_MEMORY");
  const unsigned long long bytes = wanted == nullptr ? 0 : std::strtoull(wanted, nullptr, 10);
  return bytes == 0 ? size_t{4} << 30 : static_cast<size_t>(bytes);
}

size_t device_bytes_used() { return used; }

cudaError_t allocate_device(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > device_bytes_total() || used + bytes > device_bytes_total()) return cudaErrorMemoryAllocation;
  install_handler();
  const size_t padded = round_up(bytes, kAlignment);
  const size_t region_bytes = round_up(padded, kPage) + 2 * kPage;
  void* memory = mmap(nullptr, region_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return cudaErrorMemoryAllocation;
  auto* region = static_cast<std::byte*>(memory);
  mprotect(region + kPage, region_bytes - 2 * kPage, PROT_READ | PROT_WRITE);
  std::byte* first = region + region_bytes - kPage - padded;
  std::memset(first, kFresh, bytes);
  std::memset(first + bytes, kCanary, padded - bytes);
  const Allocation allocation{region, region_bytes, bytes};
  allocations[reinterpret_cast<uintptr_t>(first)] = allocation;
  if (closed) set_access(allocation, PROT_NONE);
  used += bytes;
  *pointer = first;
  return cudaSuccess;
}

cudaError_t free_device(void* pointer) {
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == allocations.end()) return cudaErrorInvalidValue;
  const Allocation allocation = found->second;
  const auto* first = static_cast<const std::byte*>(pointer);
  if (closed && allocation.bytes % kAlignment != 0) set_access(allocation, PROT_READ);
  cudaError_t error = cudaSuccess;
  for (size_t i = allocation.bytes; i < round_up(allocation.bytes, kAlignment); i++) {
    if (first[i] == static_cast<std::byte>(kCanary)) continue;
    fprintf(stderr, "emulated CUDA device: something was written at byte %zu of an allocation of %zu bytes\n", i, allocation.bytes);
    error = cudaErrorIllegalAddress;
    break;
  }
  munmap(allocation.region, allocation.region_bytes);
  used -= allocation.bytes;
  allocations.erase(found);
  return error;
}

void free_all_device() {
  for (const auto& entry : allocations) munmap(entry.second.region, entry.second.region_bytes);
  allocations.clear();
  used = 0;
}

bool is_device(const void* pointer) { return in_region(reinterpret_cast<uintptr_t>(pointer)); }

cudaError_t check_device_range(const void* from, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(from);
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return cudaErrorInvalidValue;
  const auto& [first, allocation] = *--next;
  return address - first <= allocation.bytes && bytes <= allocation.bytes - (address - first) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t allocate_pinned(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* memory = mmap(nullptr, round_up(bytes, kPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return cudaErrorMemoryAllocation;
  pinned[reinterpret_cast<uintptr_t>(memory)] = pinned_by_us[reinterpret_cast<uintptr_t>(memory)] = bytes;
  *pointer = memory;
  return cudaSuccess;
}

cudaError_t free_pinned(void* pointer) {
  const auto found = pinned_by_us.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == pinned_by_us.end()) return cudaErrorInvalidValue;
  munmap(pointer, round_up(found->second, kPage));
  pinned.erase(found->first);
  pinned_by_us.erase(found);
  return cudaSuccess;
}

cudaError_t register_pinned(void* pointer, size_t bytes) {
  if (pointer == nullptr || bytes == 0) return cudaErrorInvalidValue;
  return pinned.emplace(reinterpret_cast<uintptr_t>(pointer), bytes).second ? cudaSuccess : cudaErrorHostMemoryAlreadyRegistered;
}

cudaError_t unregister_pinned(void* pointer) {
  return pinned.erase(reinterpret_cast<uintptr_t>(pointer)) == 1 ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
}

bool is_pinned(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto next = pinned.upper_bound(address);
  if (next == pinned.begin()) return false;
  --next;
  return address - next->first < next->second;
}

DeviceAccess::DeviceAccess() {
  if (access_depth++ > 0) return;
  runner = pthread_self();
  install_handler();
  if (closed) {
    for (const auto& entry : allocations) set_access(entry.second, PROT_READ | PROT_WRITE);
  }
  closed = false;
  // Threads of a Node process may have no stack of their own for signals.
  if (signal_stack == nullptr) {
    void* memory = mmap(nullptr, kSignalStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    signal_stack = static_cast<std::byte*>(memory);
  }
  stack_t ours = {};
  ours.ss_sp = signal_stack;
  ours.ss_size = kSignalStackBytes;
  sigaltstack(&ours, &stack_before);
}

DeviceAccess::~DeviceAccess() {
  if (--access_depth > 0) return;
  if (protecting()) {
    for (const auto& entry : allocations) set_access(entry.second, PROT_NONE);
    closed = true;
    runs++;
  }
  if (signal_stack != nullptr) sigaltstack(&stack_before, nullptr);
}

}  // namespace heddle::emulator
