"""One measurement of PyTorch with transformers and PEFT: prints one line of JSON."""

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
parser.add_argument("--job", default="decode", choices=["prefill", "decode", "logits"])
parser.add_argument("--adapters", default="", help="PEFT folders, comma separated, one a stream")
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=32)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--prompt", type=int)
parser.add_argument("--dtype", default="bfloat16")
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


length = options.prompt or (512 if options.job == "prefill" else 64)
adapters = options.adapters.split(",") if options.adapters else []
load_start = time.perf_counter()
model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
names = []
if adapters:
    model = peft.PeftModel.from_pretrained(model, adapters[0], adapter_name="a0")
    names = ["a0"]
    for index, folder in enumerate(adapters[1:], 1):
        model.load_adapter(folder, adapter_name=f"a{index}")
        names.append(f"a{index}")
model.eval()
load_seconds = time.perf_counter() - load_start

# One adapter is simply active; several go by row of the batch.
extra = {"adapter_names": names} if len(names) > 1 else {}
if len(names) > 1 and len(names) != options.batch:
    raise SystemExit(f"{len(names)} adapters for {options.batch} streams; expected as many")


@torch.inference_mode()
def prefill(repeat):
    ids = torch.tensor([prompt_tokens(repeat, length)])
    start = time.perf_counter()
    model(input_ids=ids, use_cache=True, logits_to_keep=1)
    return length / (time.perf_counter() - start)


@torch.inference_mode()
def decode(steps):
    ids = torch.tensor([prompt_tokens(stream, length) for stream in range(options.batch)])
    result = model(input_ids=ids, use_cache=True, logits_to_keep=1, **extra)
    first = result.logits[:, -1].float()
    cache, token = result.past_key_values, result.logits[:, -1].argmax(-1, keepdim=True)
    tokens = [token]
    start = time.perf_counter()
    for _ in range(steps):
        result = model(input_ids=token, past_key_values=cache, use_cache=True, **extra)
        cache, token = result.past_key_values, result.logits[:, -1].argmax(-1, keepdim=True)
        tokens.append(token)
    rate = steps * options.batch / (time.perf_counter() - start)
    return rate, first, torch.cat(tokens, 1)


if options.job == "logits":
    _, logits, tokens = decode(options.steps - 1)
    print(json.dumps({"logits": logits[0].tolist(), "tokens": tokens[0].tolist()}))
    raise SystemExit(0)

measure = (lambda repeat: prefill(repeat + 1)) if options.job == "prefill" else (lambda _: decode(options.steps)[0])
prefill(0) if options.job == "prefill" else decode(4)
repeats = [measure(repeat) for repeat in range(options.repeats)]
print(
    json.dumps(
        {
            "driver": "torch_llama",
            "version": f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}",
            "tokensPerSecond": statistics.median(repeats),
            "repeats": repeats,
            "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "loadSeconds": load_seconds,
        }
    )
)
