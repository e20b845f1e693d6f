"""Log-probabilities as PEFT computes them, for peft_reads.test.ts. Needs torch, transformers and peft.

Reads a JSON list of {"base", "adapter" (or null), "documents"} from standard input; prints a JSON list of {"logprobs"} or {"error"}.
"""

import json
import sys
import warnings

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
# Tensors that PEFT looks for in vain, options that it does not know, weights that lie the other way than the folder says.
for words in ("Found missing adapter keys", "Unexpected keyword arguments", "fan_in_fan_out is set to"):
    warnings.filterwarnings("error", message=words)


def score(base, adapter, documents):
    """The log-probability of every token but the first of each document, in float64."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    # Prefix tuning fills its cache with float32 whatever the model is.
    if getattr(getattr(model, "active_peft_config", None), "peft_type", None) != "PREFIX_TUNING":
        model = model.double()
    model = model.eval()
    logprobs = []
    for tokens in documents:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0].double()
        # Virtual tokens in front have logits too.
        logits = logits[-len(tokens):-1]
        logprobs += logits.log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()
    return logprobs


def answer(request):
    try:
        return {"logprobs": score(**request)}
    except Exception as error:  # One folder that PEFT refuses leaves the others their numbers.
        return {"error": f"{type(error).__name__}: {error}"}


json.dump([answer(request) for request in json.load(sys.stdin)], sys.stdout)
