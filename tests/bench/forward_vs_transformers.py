"""The forward pass of anchor-dump model against PyTorch + transformers in float32, in turn on the same cores.

    python3 tests/bench/forward_vs_transformers.py build/release/bin/anchor-dump MODEL.gguf TEXT [TOKENS]
    (needs: torch transformers gguf accelerate h5py)

Both sides run the whole text at once up to the final hidden states, without logits; neither loads the model in the
timed part. Ours expands the quantised weights and writes one layer of q, k, v within it.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import h5py
import torch
import transformers

program, model_path, text = sys.argv[1:4]
tokens = int(sys.argv[4]) if len(sys.argv) > 4 else 4096
rounds = 5
torch.set_num_threads(os.cpu_count())
transformers.utils.logging.disable_progress_bar()
folder, name = os.path.split(os.path.abspath(model_path))
model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()

ours, theirs = [], []
with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
    out = os.path.join(scratch, "d.h5")
    for n in range(rounds + 1):  # the first round warms both up
        done = subprocess.run([program, "model", "--model", model_path, "--text", text, "--tokens", str(tokens), "--layers", "0",
                               "--out", out], check=True, capture_output=True, text=True)
        if n == 0:
            with h5py.File(out) as dump:
                ids = torch.tensor(dump["input_ids"][:].tolist())[None]
        start = time.perf_counter()
        model.model(ids, use_cache=False)
        seconds = time.perf_counter() - start
        if n > 0:
            ours.append(float(re.search(r"(\d+) tokens/s", done.stdout)[1]))
            theirs.append(ids.shape[1] / seconds)

ratio = statistics.median(a / b for a, b in zip(ours, theirs))
print(f"{name}, {ids.shape[1]} tokens, float32, {os.cpu_count()} cores, torch {torch.__version__}, transformers "
      f"{transformers.__version__} ({model.config._attn_implementation}), medians of {rounds}")
print(f"ours {statistics.median(ours):.0f} tokens/s, transformers {statistics.median(theirs):.0f} tokens/s, ratio {ratio:.2f}")
print("ours", [round(x) for x in ours], "transformers", [round(x) for x in theirs])
