"""Writes a2ats.json: A2ATS (arXiv 2502.12665) once more, in numpy and float64. Run: python3 make_a2ats_golden.py

A codebook is fitted on one text and used on another; both are inputs of planner_rules.py, taken as queries and
keys before RoPE. tests/method/a2ats_golden_test.cpp fits, plans and weighs the same with the library.
"""

import json
import pathlib

import numpy as np
from planner_rules import Problem

THETA, B, WINDOW, SINK, CODES, TOPK = 1e4, 64, 16, 4, 24, 0.1
ROWS = range(64, 224, 8)


def turn(x, positions):
    """RoPE with half-split pairs, as a product of complex numbers."""
    half = x.shape[-1] // 2
    speed = THETA ** (-np.arange(half) / half)
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * np.multiply.outer(positions, speed))
    return np.concatenate([z.real, z.imag], -1)


def whiten(queries):
    """L with L L^T = H / rms(H) + 1e-6 I."""
    h = np.einsum("nd,ne->de", queries, queries) / len(queries)
    return np.linalg.cholesky(h / np.sqrt((h * h).mean()) + 1e-6 * np.eye(len(h)))


def nearest(points, centres):
    return np.array([((centres - p) ** 2).sum(-1).argmin() for p in points])


def fit(keys, factor):
    """k-means in factor^T k from evenly spaced keys; the codes stand for the plain means of their keys."""
    points = keys @ factor
    start = [int((n + 0.5) * len(keys) / CODES) for n in range(CODES)]
    centres, means, old = points[start], keys[start], None
    for _ in range(50):
        ids = nearest(points, centres)
        if old is not None and np.array_equal(ids, old):
            break
        old = ids
        for n in set(ids):
            centres[n], means[n] = points[ids == n].mean(0), keys[ids == n].mean(0)
    return means


def keep(scores, row):
    far = range(SINK, row - WINDOW + 1)
    best = sorted(far, key=lambda j: (-scores[j], j))[: int(TOPK * (row + 1))]
    return sorted(set(range(SINK)) | set(best) | set(range(row - WINDOW + 1, row + 1)))


def seen(query, row, keys, distances):
    return np.array([turn(query, distances[j]) @ keys[j] for j in range(row + 1)])


def bucket_middles(row):
    away = np.maximum(row - np.arange(row + 1), WINDOW)
    return np.round(WINDOW * 2.0 ** (np.floor(np.log2(away / WINDOW)) + 0.5))


def main():
    calibration, text = Problem(256, 32, 4, 2, 3), Problem(224, 32, 4, 2, 9)
    far_queries = turn(calibration.q[:2].reshape(-1, 32), np.full(512, B))
    factor = whiten(far_queries)
    query_means, plain_means = fit(calibration.k[0], factor), fit(calibration.k[0], np.eye(32))

    def error(means, by):
        ids = nearest(calibration.k[0] @ by, means @ by)
        return float(((far_queries @ (calibration.k[0] - means[ids]).T) ** 2).mean())

    codes = nearest(text.k[0] @ factor, query_means @ factor)
    coded = query_means[codes]
    keys = turn(text.k[0], np.arange(224.0))
    recall, plans = {"one": [], "buckets": [], "exact": []}, {"one": [], "buckets": [], "exact": []}
    for head in range(2):
        for row in ROWS:
            scores = text.sigma * keys[: row + 1] @ turn(text.q[head, row], float(row))
            weights = np.exp(scores - scores.max())
            ranked = {"one": seen(text.q[head, row], row, coded, np.full(row + 1, B)),
                      "buckets": seen(text.q[head, row], row, coded, bucket_middles(row)), "exact": scores}
            for name, by in ranked.items():
                plan = keep(by, row)
                recall[name].append(weights[plan].sum() / weights.sum())
                plans[name].append([int(j) for j in plan if SINK <= j <= row - WINDOW])
    golden = {"error_query": error(query_means, factor), "error_plain": error(plain_means, np.eye(32)),
              "codes": codes.tolist(), "recall": {name: float(np.mean(x)) for name, x in recall.items()},
              "far": plans}
    print({name: value for name, value in golden.items() if name not in ("codes", "far")})
    path = pathlib.Path(__file__).parent / "a2ats.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
