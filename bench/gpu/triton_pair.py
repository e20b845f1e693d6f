"""A shrink and an expand kernel in Triton, as multi-LoRA servers in Python have them: adapters stacked and padded to one rank, rows of
one adapter gathered by index, the reduction of shrink split over blocks and summed by atomics in f32."""
import torch
import triton
import triton.language as tl


@triton.jit
def shrink_kernel(x, a, u, order, starts, counts, slots, K, R: tl.constexpr, x_row, a_slot, a_row, u_row,
                  SPLIT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    part = tl.program_id(0) % SPLIT
    tile = tl.program_id(0) // SPLIT
    group = tl.program_id(1)
    slot = tl.load(slots + group)
    count = tl.load(counts + group)
    columns: tl.constexpr = (R + BN - 1) // BN
    row_tile = tile // columns
    column_tile = tile % columns
    if slot < 0 or row_tile * BM >= count:
        return
    within = row_tile * BM + tl.arange(0, BM)
    rows = tl.load(order + tl.load(starts + group) + within, mask=within < count, other=0)
    ranks = column_tile * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(part * BK, K, SPLIT * BK):
        inner = k + tl.arange(0, BK)
        xs = tl.load(x + rows[:, None] * x_row + inner[None, :], mask=(within < count)[:, None] & (inner < K)[None, :], other=0.0)
        ws = tl.load(a + slot.to(tl.int64) * a_slot + ranks[None, :] * a_row + inner[:, None],
                     mask=(ranks < R)[None, :] & (inner < K)[:, None], other=0.0)
        total += tl.dot(xs, ws)
    tl.atomic_add(u + rows[:, None] * u_row + ranks[None, :], total, mask=(within < count)[:, None] & (ranks < R)[None, :])


@triton.jit
def expand_kernel(u, b, y, order, starts, counts, slots, N, R: tl.constexpr, u_row, b_slot, b_row, y_row, scale,
                  BM: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr):
    tiles = tl.cdiv(N, BN)
    row_tile = tl.program_id(0) // tiles
    column_tile = tl.program_id(0) % tiles
    group = tl.program_id(1)
    slot = tl.load(slots + group)
    count = tl.load(counts + group)
    if slot < 0 or row_tile * BM >= count:
        return
    within = row_tile * BM + tl.arange(0, BM)
    rows = tl.load(order + tl.load(starts + group) + within, mask=within < count, other=0)
    columns = column_tile * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for r in range(0, R, BR):
        ranks = r + tl.arange(0, BR)
        us = tl.load(u + rows[:, None] * u_row + ranks[None, :], mask=(within < count)[:, None] & (ranks < R)[None, :], other=0.0)
        bs = tl.load(b + slot.to(tl.int64) * b_slot + columns[None, :] * b_row + ranks[:, None],
                     mask=(columns < N)[None, :] & (ranks < R)[:, None], other=0.0)
        total += tl.dot(us.to(bs.dtype), bs)
    at = y + rows[:, None] * y_row + columns[None, :]
    mask = (within < count)[:, None] & (columns < N)[None, :]
    tl.store(at, (tl.load(at, mask=mask, other=0.0) + total * scale).to(y.dtype.element_ty), mask=mask)


class TritonPair:
    """One step's work list and intermediate; `call` adds scale * B A x to y."""

    def __init__(self, index, rank, device):
        order = torch.argsort(index, stable=True)
        slots, counts = torch.unique(index[order], return_counts=True)
        self.order = order.to(torch.int32)
        self.slots = slots.to(torch.int32)
        self.counts = counts.to(torch.int32)
        self.starts = (torch.cumsum(counts, 0) - counts).to(torch.int32)
        self.most = int(counts.max())
        self.u = torch.empty((index.numel(), rank), dtype=torch.float32, device=device)

    def call(self, x, a, b, y, scale=0.5):
        tokens, K = x.shape
        R, N = a.shape[1], b.shape[1]
        small = tokens < 128
        split, bm, bk = (64, 16, 256) if small else (8, 32, 64)
        groups = self.slots.numel()
        self.u.zero_()
        tiles = triton.cdiv(self.most, bm) * triton.cdiv(R, 16)
        shrink_kernel[(split * tiles, groups)](x, a, self.u, self.order, self.starts, self.counts, self.slots, K, R, x.stride(0), a.stride(0),
                                               a.stride(1), self.u.stride(0), SPLIT=split, BM=bm, BN=16, BK=bk, num_warps=4)
        em = 16 if small else 64
        expand_kernel[(triton.cdiv(self.most, em) * triton.cdiv(N, 128), groups)](
            self.u, b, y, self.order, self.starts, self.counts, self.slots, N, R, self.u.stride(0), b.stride(0), b.stride(1), y.stride(0), scale,
            BM=em, BN=128, BR=16, num_warps=4)
