"""One measurement of PyTorch with PEFT training LoRA factors: prints one line of JSON."""

import argparse
import json
import os
import resource
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--documents", type=int, default=4)
parser.add_argument("--length", type=int, default=128)
parser.add_argument("--rank", type=int, default=16)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--dtype", default="bfloat16")
parser.add_argument("--checkpointing", type=int, default=0, help="1: gradient checkpointing")
options = parser.parse_args()

import torch  # noqa: E402  (threads are set before anything else runs)

torch.set_num_threads(options.threads)
torch.set_num_interop_threads(1)

import peft  # noqa: E402
import transformers  # noqa: E402


def prompt_tokens(stream, length):
    """The prompts of prompts.mjs."""
    letters = b"abcdefgijklmnopqrstuvwxyz "
    state = (12345 + 7919 * stream) % 2**32
    tokens = []
    for _ in range(length):
        state = (state * 1664525 + 1013904223) % 2**32
        tokens.append(letters[(state >> 16) % 26] + 3)
    return tokens


model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
if options.checkpointing:
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = peft.get_peft_model(model, peft.LoraConfig(r=options.rank, lora_alpha=2 * options.rank, target_modules=targets, lora_dropout=0.0))
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
repeats = []
for step in range(options.steps + 2):
    ids = torch.tensor([prompt_tokens(step * options.documents + d, options.length) for d in range(options.documents)])
    start = time.perf_counter()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    repeats.append(options.documents * options.length / (time.perf_counter() - start))
repeats = repeats[2:]
print(
    json.dumps(
        {
            "driver": "torch_training",
            "version": f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}",
            "dtype": options.dtype,
            "tokensPerSecond": statistics.median(repeats),
            "repeats": repeats,
            "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    )
)
