"""The CPU executor against PyTorch's scaled_dot_product_attention, in turn on the same cores.

    build/release/bin/anchor-cpu-speed is built on demand:  cmake --build build/release --target anchor-cpu-speed
    python3 tests/bench/attention_vs_torch.py build/release/bin/anchor-cpu-speed [LENGTH] [DIM]     # needs torch
"""
import json
import os
import statistics
import subprocess
import sys
import time

import torch

program = sys.argv[1]
length, dim = int(sys.argv[2]) if len(sys.argv) > 2 else 8192, int(sys.argv[3]) if len(sys.argv) > 3 else 64
rounds = 9
torch.set_num_threads(os.cpu_count())
q, k, v = (torch.randn(1, 1, length, dim) for _ in range(3))


def torch_seconds():
    torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    start = time.perf_counter()
    torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return time.perf_counter() - start


ours, theirs = [], []
for _ in range(rounds):
    ours.append(json.loads(subprocess.run([program, str(length), str(dim)], check=True, capture_output=True).stdout))
    theirs.append(torch_seconds())


def median(values):
    return statistics.median(values)


flop = 4 * dim * length * (length + 1) / 2
dense, other = median(r["dense_s"] for r in ours), median(theirs)
ratio = median(t / r["dense_s"] for r, t in zip(ours, theirs))
print(f"N {length}, d {dim}, float32, causal, {os.cpu_count()} cores, {ours[0]['isa']}, torch {torch.__version__}, medians of {rounds}")
print(f"dense: ours {dense * 1e3:.1f} ms ({flop / dense / 1e9:.0f} GFLOP/s), torch {other * 1e3:.1f} ms "
      f"({flop / other / 1e9:.0f}), ours/torch throughput {ratio:.2f}")
for n, sweep in enumerate(ours[0]["sweeps"]):
    s = median(r["sweeps"][n]["s"] / r["dense_s"] for r in ours)
    print(f"exact sweep, step {sweep['step']:2}: {sweep['thresholds']} thresholds in {s:.2f} x dense")
for n, plan in enumerate(ours[0]["plans"]):
    s = median(r["plans"][n]["s"] / r["dense_s"] for r in ours)
    print(f"plan, step {plan['step']:2}: density {plan['density']:.3f} takes {s:.3f} x dense")
