"""Writes planners/METHOD.json: what planner_rules.py selects. Run: python3 make_planner_golden.py [METHOD...]

A row is written as runs of visible keys before causality, "begin-end begin-end", clipped at the last key that
a row of the tile sees.
"""

import json
import pathlib
import sys

import planner_rules as rules

# method -> cases of (length, dim, query heads, KV heads, seed, parameters)
CASES = {
    "anchor": [(700, 32, 2, 1, 1, {"theta": 1, "block": 16, "step": 4}),
               (700, 32, 2, 1, 1, {"theta": 1, "block": 16, "step": 4, "rounding": "official"}),
               (530, 32, 1, 1, 1, {"theta": 1.5, "block": 16, "step": 3, "mode": "v4", "rounding": "official"}),
               (512, 32, 1, 1, 3, {"theta": 2, "block": 32, "step": 1, "anchor": "global", "rounding": "official"}),
               (450, 32, 1, 1, 4, {"theta": -1, "block": 16, "step": 2, "mode": "v4", "tail": "sparse", "anchor": "none",
                                   "rounding": "official"})],
    "block-sparse": [(400, 32, 2, 1, 1, {"topk": 3}), (397, 32, 1, 1, 2, {"topk": 2, "block": 32}),
                     (420, 32, 1, 1, 3, {"topk": 3, "rounding": "official"})],
    "vertical-slash": [(900, 32, 2, 1, 1, {"vertical": 60, "slash": 105}),
                       (513, 32, 1, 1, 2, {"vertical": 40, "slash": 1}),
                       (640, 32, 1, 1, 3, {"vertical": 80, "slash": 103, "last": 40}),
                       (700, 32, 1, 1, 4, {"vertical": 50, "slash": 70, "rounding": "official"})],
    "vertical-slash-blocks": [(700, 32, 2, 1, 1, {"vertical": 128, "slash": 96, "block": 32}),
                              (500, 32, 1, 1, 2, {"vertical": 64, "slash": 100, "block": 64, "rounding": "official"})],
    "flexprefill": [(900, 32, 3, 1, 1, {"gamma": 0.8, "min_budget": 64, "block": 32}),
                    (901, 32, 2, 1, 2, {"gamma": 0.6, "min_budget": 64, "block": 32, "tau": 0.5}),
                    (800, 32, 2, 2, 3, {"gamma": 0.7, "min_budget": 0, "max_budget": 160, "block": 64, "tau": 0.3}),
                    (1000, 32, 2, 1, 4, {"gamma": 0.7, "min_budget": 128, "block": 128, "tau": 0.35,
                                         "rounding": "official"})],
    "spargeattn": [(900, 32, 2, 1, 1, {"cdf": 0.4, "sim": 0.02}),
                   (900, 32, 2, 1, 4, {"cdf": 0.4, "sim": -1}),
                   (1000, 32, 1, 1, 2, {"cdf": 0.7, "sim": 0.03}),
                   (768, 32, 2, 1, 3, {"mode": "topk", "topk": 0.3}),
                   (1000, 32, 1, 1, 4, {"cdf": 0.6, "sim": 0.03, "smooth_k": 0, "rounding": "official"})],
    "sale": [(1100, 32, 2, 1, 1, {"theta_h": 0.4}), (1300, 32, 1, 1, 2, {"theta_h": 0.2, "quant": 2, "window": 256}),
             (1050, 32, 1, 1, 3, {"theta_h": 0.4, "rounding": "official"})],
    "flashprefill": [(900, 32, 4, 1, 1, {"alpha": 0.8, "sink": 32, "window": 64, "block": 32}),
                     (701, 32, 2, 1, 2, {"alpha": 0.7, "sink": 40, "window": 33, "block": 32, "pack": "head"}),
                     (800, 32, 2, 1, 3, {"alpha": 0.85, "sink": 0, "window": 1, "block": 32, "score": "mean"})],
    "block-oracle": [(600, 32, 1, 1, 1, {"mass": 0.8, "block": 32}),
                     (601, 32, 1, 1, 2, {"mass": 0.6, "block": 64, "force_diagonal": 0})],
    "stripe-oracle": [(500, 32, 2, 1, 1, {"mass": 0.7, "block": 16, "step": 4})],
    "stripes": [(600, 32, 3, 1, 1, {"theta": 3, "block": 32}), (517, 32, 2, 1, 2, {"theta": 4, "block": 64, "score": "rows"}),
                (300, 32, 1, 1, 3, {"theta": 2.5, "block": 16, "sink": 0, "score": "rows"}),
                (420, 32, 1, 1, 4, {"theta": 2, "block": 32, "window": 40}),
                (610, 32, 2, 1, 6, {"theta": 3.5, "block": 32, "score": "peak"}),
                (620, 32, 2, 1, 1, {"theta": 3, "block": 32, "score": "antidiagonal"}),
                (453, 32, 1, 1, 2, {"theta": 1.6, "block": 64, "sink": 70, "window": 30, "score": "antidiagonal"})],
    "xattention": [(1000, 32, 2, 1, 1, {"tau": 0.7, "block": 64}),
                   (777, 32, 2, 1, 2, {"tau": 0.8, "stride": 8, "block": 64}),
                   (640, 32, 1, 1, 3, {"tau": 0.6, "stride": 4, "block": 32}),
                   (800, 32, 1, 1, 4, {"tau": 0.75, "stride": 8, "block": 64, "rounding": "official"})],
}


def runs(keys):
    text, keys = [], sorted(keys)
    for n, j in enumerate(keys):
        if n == 0 or j != keys[n - 1] + 1:
            text.append([j, j + 1])
        text[-1][1] = j + 1
    return " ".join(f"{a}-{b}" for a, b in text)


def share(cases):
    """Part of the keys that the rows list: a case that keeps all or nothing tests little."""
    kept = full = 0
    for case in cases:
        for row in case["rows"]:
            ends = [[int(x) for x in run.split("-")] for run in row.split()]
            kept += sum(b - a for a, b in ends)
            full += ends[-1][1]
    return kept / full


def write(method):
    cases = []
    for length, dim, q_heads, kv_heads, seed, params in CASES[method]:
        problem = rules.Problem(length, dim, q_heads, kv_heads, seed)
        rows = []
        for h in range(q_heads):
            sets, tile = getattr(rules, method.replace("-", "_"))(problem, h, **params)
            for t, keys in enumerate(sets):
                rows.append(runs(j for j in keys if j < min((t + 1) * tile, length)))
        cases.append({"length": length, "dim": dim, "q_heads": q_heads, "kv_heads": kv_heads, "seed": seed,
                      "set": {k: str(v) for k, v in params.items()}, "rows": rows})
    print(f"{method}: {len(cases)} cases, {share(cases):.2f} of the keys")
    folder = pathlib.Path(__file__).parent / "planners"
    folder.mkdir(exist_ok=True)
    text = json.dumps(cases, separators=(",", ":")).replace('{"length"', '\n{"length"')
    (folder / f"{method}.json").write_text(text + "\n")


# Layers of a small model: query heads 0 and 1 of layers 0, 1 and 2 form one cluster, head 2 is in none.
SHARE_LAYERS = {"clusters": {"a": [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]], "b": [[2, 1]]},
                "shared_clusters": ["a"]}
SHARE_CASES = [{"gamma": 0.6, "min_budget": 0, "tau_sim": 0.8, "tau_qa": 0},
               {"gamma": 0.6, "min_budget": 0, "tau_qa": 0.3},
               {"gamma": 0.6, "min_budget": 0, "tau_sim": 0.8, "tau_qa": 0, "rho": "official", "phi": 2}]


def write_shareprefill(folder):
    cases = []
    for params in SHARE_CASES:
        planner = rules.SharePrefill(SHARE_LAYERS["clusters"], SHARE_LAYERS["shared_clusters"], **params)
        layers = []
        for layer in range(3):
            problem = rules.Problem(1300, 16, 3, 1, 11 + layer)
            grids = [planner.head(problem, layer, h) for h in range(3)]
            layers.append([" ".join(str(c) for c in sorted(row)) for grid in grids for row in grid])
        print("shareprefill: mass on own lines", [float(pivot[-1]) for pivot in planner.pivots.values()])
        cases.append({"set": {k: str(v) for k, v in params.items()}, "layers": layers})
    text = json.dumps(cases, separators=(",", ":")).replace('{"set"', '\n{"set"')
    (folder / "shareprefill-layers.json").write_text(text + "\n")
    (folder / "clusters.json").write_text(json.dumps(SHARE_LAYERS) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        write(name)
    write_shareprefill(pathlib.Path(__file__).parent / "planners")
