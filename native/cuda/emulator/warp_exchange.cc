// Barriers and exchanges between the lanes of a warp. Whoever comes last works out everybody's result.
#include "cuda/emulator/warp_exchange.h"

#include "cuda/emulator/block.h"
#include "cuda/emulator/matrix.h"
#include "cuda/emulator/shadow.h"
#include "cuda/emulator/shared_memory.h"

namespace heddle::emulator {

namespace {

const char* kind_name(WarpKind kind) {
  switch (kind) {
    case WarpKind::kSync: return "__syncwarp";
    case WarpKind::kShuffle: return "__shfl_sync";
    case WarpKind::kShuffleUp: return "__shfl_up_sync";
    case WarpKind::kShuffleDown: return "__shfl_down_sync";
    case WarpKind::kShuffleXor: return "__shfl_xor_sync";
    case WarpKind::kBallot: return "a vote";
    case WarpKind::kMatch: return "__match_any_sync";
    case WarpKind::kMma: return "mma";
    case WarpKind::kLoadMatrix: return "ldmatrix";
  }
  return "";
}

int source_lane(WarpKind kind, int lane, int64_t packed) {
  const int argument = static_cast<int32_t>(packed), width = static_cast<int32_t>(packed >> 32);
  const int first = lane & ~(width - 1), last = lane | (width - 1);
  int from = lane;
  switch (kind) {
    case WarpKind::kShuffle: return first + (argument & (width - 1));
    case WarpKind::kShuffleUp: from = lane - argument; return from < first ? lane : from;
    case WarpKind::kShuffleDown: from = lane + argument; return from > last ? lane : from;
    default: from = lane ^ argument; return from > last ? lane : from;
  }
}

void exchange(Thread* lanes, uint32_t mask, WarpKind kind) {
  switch (kind) {
    case WarpKind::kSync:
      return;
    case WarpKind::kBallot: {
      uint64_t votes = 0;
      for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        votes |= lanes[lane].request.value << lane;
      }
      for (uint32_t rest = mask; rest != 0; rest &= rest - 1) lanes[__builtin_ctz(rest)].request.result = votes;
      return;
    }
    case WarpKind::kMatch:
      for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        Request& mine = lanes[__builtin_ctz(rest)].request;
        uint64_t same = 0;
        for (uint32_t others = mask; others != 0; others &= others - 1) {
          const int other = __builtin_ctz(others);
          if (lanes[other].request.value == mine.value) same |= 1ull << other;
        }
        mine.result = same;
      }
      return;
    case WarpKind::kMma:
      return multiply_fragments(lanes);
    case WarpKind::kLoadMatrix:
      return load_fragments(lanes);
    default:
      for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        const int from = source_lane(kind, lane, lanes[lane].request.argument);
        if (from < 0 || (mask >> from & 1) == 0)
          fail_thread("%s at %s:%d: lane %d reads lane %d, which is not in mask 0x%08x", kind_name(kind), lanes[lane].request.site.file,
                      lanes[lane].request.site.line, lane, from, mask);
        lanes[lane].request.result = lanes[from].request.value;
      }
  }
}

bool is_shuffle(WarpKind kind) { return kind >= WarpKind::kShuffle && kind <= WarpKind::kShuffleXor; }

}  // namespace

int barrier(BarrierKind kind, int predicate, Site site) {
  Thread* self = scheduler.thread;
  Block* block = scheduler.block;
  if (block->exited > 0) fail_thread("__syncthreads at %s:%d, but %u threads of the block have ended", site.file, site.line, block->exited);
  if (block->arrived == 0) {
    block->barrier_kind = kind;
    block->barrier_site = site;
    block->arrived_true = 0;
  } else if (block->barrier_kind != kind || block->barrier_site.line != site.line) {
    fail_thread("__syncthreads at %s:%d, but other threads of the block wait in the one at %s:%d", site.file, site.line,
                block->barrier_site.file, block->barrier_site.line);
  }
  block->arrived_true += predicate;
  if (++block->arrived < block->thread_count) {
    self->state = ThreadState::kBarrier;
    leave_thread();
    return block->barrier_result;
  }
  block->arrived = 0;
  block->barrier_result = block->arrived_true;
  scheduler.progress++;
  shadow_barrier(&block->shared->shadow);
  for (uint32_t t = 0; t < block->thread_count; t++) block->threads[t].state = ThreadState::kReady;
  for (uint32_t w = 0; w < block->warp_count; w++) make_ready(block, w, ~block->warps[w].exited);
  leave_thread();
  return block->barrier_result;
}

uint64_t warp_exchange(WarpKind kind, uint32_t mask, uint64_t value, int64_t argument, Site site) {
  Thread* self = scheduler.thread;
  const uint32_t w = self->index / 32, lane = self->index % 32;
  Warp& warp = self->block->warps[w];
  Thread* lanes = &self->block->threads[w * 32];
  if ((mask >> lane & 1) == 0) fail_thread("%s at %s:%d: mask 0x%08x lacks the calling lane %u", kind_name(kind), site.file, site.line, mask, lane);
  if ((mask & warp.exited) != 0)
    fail_thread("%s at %s:%d: mask 0x%08x names lanes that have ended or do not exist (0x%08x)", kind_name(kind), site.file, site.line, mask,
                mask & warp.exited);
  if (is_shuffle(kind)) {
    const int width = static_cast<int32_t>(argument >> 32);
    if (width < 1 || width > 32 || (width & (width - 1)) != 0)
      fail_thread("%s at %s:%d: width %d: expected a power of two up to 32", kind_name(kind), site.file, site.line, width);
  }
  self->request = {value, 0, argument, mask, kind, site};
  warp.waiting |= 1u << lane;
  bool complete = (warp.waiting & mask) == mask;
  if (complete) {
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
      const Request& other = lanes[__builtin_ctz(rest)].request;
      if (other.mask != mask) {
        complete = false;
        break;
      }
      if (other.kind != kind)
        fail_thread("%s at %s:%d, but lane %d of the same mask 0x%08x is in %s at %s:%d", kind_name(kind), site.file, site.line,
                    __builtin_ctz(rest), mask, kind_name(other.kind), other.site.file, other.site.line);
    }
  }
  if (!complete) {
    self->state = ThreadState::kWarp;
    leave_thread();
    self->state = ThreadState::kReady;
    return self->request.result;
  }
  exchange(lanes, mask, kind);
  if (kind == WarpKind::kSync) shadow_warp_sync(&self->block->shared->shadow, w, mask);
  warp.waiting &= ~mask;
  const uint32_t others = mask & ~(1u << lane);
  for (uint32_t rest = others; rest != 0; rest &= rest - 1) lanes[__builtin_ctz(rest)].state = ThreadState::kReady;
  make_ready(self->block, w, others);
  return self->request.result;
}

}  // namespace heddle::emulator
