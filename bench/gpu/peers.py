"""The peers of grouped_lora and linear on one GPU, over the shapes of bench/native/*_cuda_bench.cu: PyTorch (cuBLAS; gather and bmm; a
loop over adapters), a Triton pair, PEFT's mixed batch. Prints one JSON object per line with the same keys.

    python3 bench/gpu/peers.py [--quick]
"""
import json
import math
import sys

import torch

from triton_pair import TritonPair

device = torch.device("cuda")


def populate(population, tokens):
    if population == "identical":
        groups = [tokens]
    elif population == "distinct":
        groups = [1] * tokens
    elif population == "uniform":
        count = max(1, math.ceil(math.sqrt(tokens)))
        return [t * count // tokens for t in range(tokens)]
    elif population == "skewed":
        return [0] + [1] * (tokens - 1)
    elif population == "quarter-base":
        return [-1 if t % 4 == 3 else t for t in range(tokens)]
    else:
        groups, left, size = [], tokens, 1.0
        while left > 0:
            groups.append(min(left, int(size)))
            left -= groups[-1]
            size *= 1.5
        groups.sort(reverse=True)
    return [adapter for adapter, size in enumerate(groups) for _ in range(size)]


def median_us(body, calls):
    """Median microseconds of body(i), `calls` of them replayed from one graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(calls):
            body(i)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(calls):
            body(i)
    times = []
    for i in range(17):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        if i >= 2:
            times.append(begin.elapsed_time(end) * 1e3 / calls)
    return sorted(times)[len(times) // 2]


def report(bench, side, us, **keys):
    print(json.dumps({"bench": bench, "side": side, **keys, "us": round(us, 3)}), flush=True)


def grouped(inputs, outputs, name, ranks, tokens, population):
    index = torch.tensor(populate(population, tokens), device=device)
    distinct = int(index.max()) + 1
    rank = max(ranks)  # the peers pad to the largest
    bytes_each = 2 * rank * (inputs + outputs)
    sets = max(1, min(64, 4 * 60 * 2**20 // max(1, distinct * bytes_each)))
    if distinct * sets * bytes_each > 40 * 2**30:
        return
    a = torch.randn(sets * distinct, rank, inputs, device=device, dtype=torch.bfloat16) * 0.02
    b = torch.randn(sets * distinct, outputs, rank, device=device, dtype=torch.bfloat16) * 0.02
    x = torch.randn(tokens, inputs, device=device, dtype=torch.bfloat16)
    y = torch.zeros(tokens, outputs, device=device, dtype=torch.bfloat16)
    keys = dict(inputs=inputs, outputs=outputs, rank=name, tokens=tokens, population=population, distinct=distinct)
    calls = max(sets, 8)
    shifted = [torch.where(index >= 0, index + s * distinct, index) for s in range(sets)]
    pairs = [TritonPair(s, rank, device) for s in shifted]
    report("grouped_lora", "triton", median_us(lambda i: pairs[i % sets].call(x, a, b, y), calls), **keys)
    if population != "quarter-base" and tokens * bytes_each < 8 * 2**30:
        def bmm(i):
            s = shifted[i % sets]
            u = torch.bmm(a[s], x.unsqueeze(2))
            y.add_(torch.bmm(b[s], u).squeeze(2), alpha=0.5)
        report("grouped_lora", "torch-bmm", median_us(bmm, calls), **keys)
    members = [(adapter, (index == adapter).nonzero().flatten()) for adapter in range(distinct)]
    if distinct <= 128:
        def loop(i):
            for adapter, rows in members:
                at = i % sets * distinct + adapter
                y.index_add_(0, rows, (x[rows] @ a[at].T) @ b[at].T, alpha=0.5)
        report("grouped_lora", "torch-loop", median_us(loop, min(calls, 8)), **keys)


def linear(inputs, outputs, tokens):
    sets = max(1, min(32, 4 * 60 * 2**20 // (2 * inputs * outputs)))
    w = [torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16) * 0.02 for _ in range(sets)]
    x = torch.randn(tokens, inputs, device=device, dtype=torch.bfloat16)
    y = torch.empty(tokens, outputs, device=device, dtype=torch.bfloat16)
    us = median_us(lambda i: torch.mm(x, w[i % sets].T, out=y), max(sets, 8))
    report("linear", "torch", us, inputs=inputs, outputs=outputs, tokens=tokens)


def peft_mixed(inputs, outputs, rank, tokens, distinct):
    """PEFT's mixed batch on one linear layer: eager, as PEFT cannot be captured."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        return

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = torch.nn.Linear(inputs, outputs, bias=False)

        def forward(self, x, **_):
            return self.proj(x)

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["proj"])
    model = get_peft_model(One().to(device, torch.bfloat16), config, adapter_name="a0")
    for i in range(1, distinct):
        model.add_adapter(f"a{i}", config)
    model = model.to(device, torch.bfloat16).eval()
    x = torch.randn(tokens, 1, inputs, device=device, dtype=torch.bfloat16)
    names = [f"a{i}" for i in populate("distinct" if distinct == tokens else "uniform", tokens)]
    layer = model.base_model.model.proj
    with torch.no_grad():
        times = []
        for i in range(12):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            layer(x, adapter_names=names)
            end.record()
            torch.cuda.synchronize()
            if i >= 2:
                times.append(begin.elapsed_time(end) * 1e3)
    report("linear_with_lora", "peft", sorted(times)[len(times) // 2], inputs=inputs, outputs=outputs, rank=str(rank), tokens=tokens, distinct=distinct)


def main():
    quick = "--quick" in sys.argv
    print(json.dumps({"bench": "machine", "device": torch.cuda.get_device_name(), "torch": torch.__version__}), flush=True)
    shapes = [(4096, 4096), (4096, 14336), (14336, 4096)]
    ranks = {"16": [16], "64": [64], "mixed": [8, 16, 32, 64]}
    counts = [1, 8, 32, 128, 2048]
    if not quick:
        shapes = [(4096, 4096), (4096, 1024), (4096, 14336), (14336, 4096), (8192, 8192), (8192, 28672)]
        ranks = {"8": [8], "16": [16], "32": [32], "64": [64], "128": [128], "mixed": [8, 16, 32, 64]}
        counts = [1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 8192]
    for outputs, inputs in [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (128256, 4096)]:
        for tokens in [1, 2, 4, 8, 16, 32, 64, 128, 512, 2048]:
            linear(inputs, outputs, tokens)
    for inputs, outputs in shapes:
        for name, list_ in ranks.items():
            for tokens in counts:
                populations = ["identical"] + (["distinct"] if 1 < tokens <= 128 else []) + (["uniform"] if tokens >= 8 else [])
                if tokens >= 8 and (not quick or tokens == 32):
                    populations += ["zipf", "skewed"] + (["quarter-base"] if tokens <= 128 else [])
                for population in populations:
                    grouped(inputs, outputs, name, list_, tokens, population)
    for tokens in [8, 32]:
        peft_mixed(4096, 4096, 16, tokens, tokens)


if __name__ == "__main__":
    main()
