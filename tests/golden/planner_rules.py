"""The published planners once more, in numpy and float64, written to be read beside the papers.

Nothing here is shared with the C++ planners. A plan is a list over heads and tiles of sets of visible keys
before causality ("row sets"); make_planner_golden.py writes them down for tests/method/golden_test.cpp.
"""

import math

import numpy as np


# ---- inputs: tests/support/golden_inputs.hpp makes the same numbers ----------------------------------------


def noise(x):
    x = np.asarray(x, dtype=np.uint32).copy()
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    total = sum(((x >> np.uint32(s)) & np.uint32(255)).astype(np.int64) for s in (0, 8, 16, 24)) - 510
    return np.trunc(total / 8).astype(np.int64)


def make_heads(length, dim, heads, seed, salt, scale):
    i = np.arange(length, dtype=np.uint64)[None, :, None]
    c = np.arange(dim, dtype=np.uint64)[None, None, :]
    h = np.arange(heads, dtype=np.uint64)[:, None, None]
    mask = (1 << 32) - 1
    key = ((seed * 40503 + salt) * 2654435761) & mask
    value = noise((((h * 65536 + i) * 256 + c) & mask).astype(np.uint32) ^ np.uint32(key))
    for head in range(heads):
        angle = 6.283185307179586 * np.arange(length) / (29 + 8 * (head % 3))
        value[head, :, 0] += np.floor(48 * np.cos(angle) + 0.5).astype(np.int64)
        value[head, :, 1] += np.floor(48 * np.sin(angle) + 0.5).astype(np.int64)
    for column in range(2, 6):
        topic = noise(((np.arange(length) // 96 * 8 + column) * 77 + seed) & mask)
        value[:, :, column] += np.trunc(2 * topic / 3).astype(np.int64)
    value[:, :, 6] += 40 if salt == 1 else np.where(np.arange(length) < 3, 90, 0)
    return scale * np.clip(value, -127, 127) / 32.0


class Problem:
    """q, k, v of all heads; sigma is the softmax scale."""

    def __init__(self, length, dim, q_heads, kv_heads, seed):
        self.n, self.dim, self.q_heads, self.kv_heads = length, dim, q_heads, kv_heads
        self.q = make_heads(length, dim, q_heads, seed, 1, 2)
        self.k = make_heads(length, dim, kv_heads, seed, 2, 1)
        self.v = make_heads(length, dim, kv_heads, seed, 3, 1)
        self.sigma = 1 / math.sqrt(dim)

    def head(self, h):
        return self.q[h], self.k[h // (self.q_heads // self.kv_heads)]


def bf16(x):
    """Round to nearest even bfloat16."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


# ---- small pieces ------------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def order(scores):
    """Descending, ties by index."""
    return np.argsort(-np.asarray(scores), kind="stable")


def pooled(x, b, padded=False):
    return np.array([x[s:s + b].sum(axis=0) / (b if padded else len(x[s:s + b])) for s in range(0, len(x), b)])


def tiles(n, b):
    return [(s, min(s + b, n)) for s in range(0, n, b)]


def block_keys(blocks, b, n):
    return {j for c in blocks for j in range(c * b, min((c + 1) * b, n))}


def causal_probabilities(q, k, sigma):
    s = sigma * q @ k.T
    return softmax(np.where(np.tri(len(q), len(k), dtype=bool), s, -np.inf))


# ---- AnchorAttention ---------------------------------------------------------------------------------------


def anchor(p, h, theta=12, block=128, step=16, mode="clean", tail="auto", anchor="window", rounding="exact"):
    q, k = p.head(h)
    n, group, v4 = p.n, block * step, mode == "v4"
    dense_tail = tail == "dense" or (tail == "auto" and v4)
    if rounding == "official":  # as the released kernels on bfloat16 inputs, in log2 units
        log2e = 1 / math.log(2)
        s = bf16(bf16(q * bf16(p.sigma)) * bf16(log2e)) @ k.T
        cut, unit, slack = bf16, p.sigma * log2e, theta * log2e
    else:
        s = p.sigma * q @ k.T
        cut, unit, slack = np.asarray, p.sigma, theta

    rows = []
    for g, (start, end) in enumerate(tiles(n, group)):
        if g == 0 or (dense_tail and end - start < group):
            rows.append(set(range(end)))
            continue
        first, local = (group, start) if v4 else (block, start - block)
        region = np.array([j < first or j >= local for j in range(end)])
        stripes = set()
        for a, b in tiles(end - start, block):
            i = np.arange(start + a, start + b)
            seen = (np.arange(end) <= i[:, None]) & (region | (anchor == "global"))
            highest = np.where(seen, s[i][:, :end], -np.inf).max(axis=1) * (anchor != "none")
            score = cut(unit * (k[block:start - block] @ cut(q[i].mean(axis=0))))
            stripes |= set((block + np.nonzero(score + slack >= cut(highest.mean()))[0]).tolist())
        rows.append(set(np.nonzero(region)[0].tolist()) | stripes)
    return rows, group


# ---- MInference --------------------------------------------------------------------------------------------


def block_sparse(p, h, topk=100, block=64, rounding="exact"):
    q, k = p.head(h)
    qm, km = (pooled(x, block, rounding == "official") for x in (q, k))
    return [block_keys(order(km[:r + 1] @ qm[r])[:int(topk)], block, p.n) for r in range(len(qm))], block


def probe(p, h, rows, rounding="none"):
    """Mean softmax mass of the last rows per key, and per distance (entry t is distance n - 1 - t)."""
    q, k = p.head(h)
    n = p.n
    q = q[n - rows:]
    if rounding == "queries":
        s = bf16(bf16(q * np.float32(p.sigma)) @ k.T)
    elif rounding == "scores":
        s = bf16(bf16(q @ k.T) * np.float32(p.sigma))
    else:
        s = p.sigma * q @ k.T
    for r in range(rows):
        s[r, n - rows + r + 1:] = -np.inf
    w = softmax(s)
    diagonals = np.zeros(n)
    for r in range(rows):
        i = n - rows + r
        for j in range(i + 1):
            diagonals[n - 1 - (i - j)] += w[r, j] / rows
    return w.mean(axis=0), diagonals


def vertical_slash(p, h, vertical=1000, slash=6096, last=64, rounding="exact"):
    n = p.n
    columns, diagonals = probe(p, h, min(int(last), n), "scores" if rounding == "official" else "none")
    columns[:30] = np.inf
    diagonals[max(0, n - 100):] = np.inf
    v = set(order(columns)[:max(int(vertical), 30)].tolist())
    distances = sorted((n - 1 - t for t in order(diagonals)[:max(int(slash), 50 if rounding == "official" else 100)]),
                       reverse=True)
    rows = []
    for start, _ in tiles(n, 64):
        end = start + 64
        runs = []  # [begin, end)
        for o in distances:
            if o >= end:
                continue
            x = max(end - o, 64)
            if not runs or x > runs[-1][1] + 64:
                runs.append([x - 64, x])
            elif x > runs[-1][1]:
                runs[-1][1] += 64
        keys = {j for a, b in runs for j in range(a, b)}
        keys |= {j for j in v if runs and j < runs[-1][1]}
        rows.append({j for j in keys if j < n})
    return rows, 64


def block_sums(x, b):
    return np.array([x[s:s + b].sum() for s in range(0, len(x), b)])


def vs_grid(columns, diagonals, n_v, n_s):
    nb = len(columns)
    columns, diagonals = columns.copy(), diagonals.copy()
    columns[0] = diagonals[-1] = np.inf
    v = set(order(columns)[:n_v].tolist())
    distances = {nb - 1 - t for t in order(diagonals)[:n_s].tolist()}
    return [{c for c in range(r + 1) if c in v or r - c in distances} for r in range(nb)]


def as_keys(grid, b, n):
    return [block_keys(row, b, n) for row in grid], b


def vertical_slash_blocks(p, h, vertical=8192, slash=8192, block=128, rounding="exact"):
    n_v, n_s = -(-int(vertical) // block), -(-int(slash) // block)
    if p.n <= min(n_v, n_s) * block:
        return as_keys([set(range(r + 1)) for r in range(-(-p.n // block))], block, p.n)
    columns, diagonals = probe(p, h, min(block, p.n), "queries" if rounding == "official" else "none")
    return as_keys(vs_grid(block_sums(columns, block), block_sums(diagonals, block), n_v, n_s), block, p.n)


# ---- FlexPrefill -------------------------------------------------------------------------------------------


def js_distance(p, q):
    m = (p + q) / 2
    with np.errstate(all="ignore"):
        return np.sqrt(0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum())


def flex_head(p, h, block, gamma, tau, least, most, divisor, official):
    q, k = p.head(h)
    columns, diagonals = probe(p, h, min(block, p.n), "queries" if official else "none")

    def budget(x):
        cover = 1 + int((np.cumsum(np.sort(x)[::-1]) <= gamma).sum())
        return min(max(cover // divisor + 1, least), most)

    scaled = q[-block:] * np.float32(p.sigma)
    keys = pooled(k, block)
    if official:
        guess = bf16(bf16(bf16(scaled).mean(axis=0)) @ bf16(keys).T)
    else:
        guess = scaled.mean(axis=0) @ keys.T
    v, u = block_sums(columns, block), block_sums(diagonals, block)
    return v, u, budget(columns), budget(diagonals), js_distance(softmax(guess), v) < tau


def flex_query_aware(p, h, block, gamma, official):
    q, k = p.head(h)
    qm, km = pooled(q, block), pooled(k, block)
    if official:
        qm, km = bf16(qm), bf16(km)
    nb = len(qm)
    share = np.zeros((nb, nb))
    for r in range(nb):
        share[r, :r + 1] = softmax(p.sigma * km[:r + 1] @ qm[r])
    grid, total = [set() for _ in range(nb)], 0.0
    for n in order(share.reshape(-1)):
        total += share.reshape(-1)[n]
        if total > gamma * nb:
            break
        if n % nb <= n // nb:
            grid[n // nb].add(int(n % nb))
    return grid


def flexprefill(p, h, gamma=0.95, tau=0.1, min_budget=1024, max_budget=0, block=128, rounding="exact"):
    nb = -(-p.n // block)
    least = max(1, -(-int(min_budget) // block))
    most = nb if max_budget == 0 else min(nb, -(-int(max_budget) // block))
    if p.n <= max(2 * block, least * block):
        return as_keys([set(range(r + 1)) for r in range(nb)], block, p.n)
    official = rounding == "official"
    v, u, n_v, n_s, aware = flex_head(p, h, block, gamma, tau, least, most, 128 if official else block, official)
    if not aware:
        return as_keys(vs_grid(v, u, n_v, n_s), block, p.n)
    grid = vs_grid(v, u, least, least)
    return as_keys([a | b for a, b in zip(grid, flex_query_aware(p, h, block, gamma, official))], block, p.n)


# ---- XAttention --------------------------------------------------------------------------------------------


def antidiagonal_softmax(p, h, stride, official=False):
    """Where each cell of `stride` queries looks: its softmax over the key cells up to its own."""
    q, k = p.head(h)
    cells = -(-p.n // stride)
    pad = np.zeros((cells * stride - p.n, p.dim))
    q, k = np.concatenate([q, pad]), np.concatenate([k, pad])
    z = np.zeros((cells, cells))
    for a in range(stride):
        z += q[stride - 1 - a::stride] @ k[a::stride].T
    if official:
        z = bf16(z)
    return softmax(np.where(np.tri(cells, dtype=bool), z * p.sigma / stride, -np.inf))


def xattention(p, h, tau=0.9, stride=16, block=128, rounding="exact"):
    w = antidiagonal_softmax(p, h, stride, rounding == "official")
    per = block // stride
    grid = []
    for r in range(-(-p.n // block)):
        scores = np.array([w[r * per:(r + 1) * per, c * per:(c + 1) * per].sum() for c in range(r + 1)])
        if rounding == "official":
            scores = bf16(scores)
        kept = {0, r}
        taken = sum(scores[c] for c in kept)
        for c in order(scores):
            if c not in kept and taken < tau * scores.sum():
                kept.add(int(c))
                taken += scores[c]
        grid.append(kept)
    return as_keys(grid, block, p.n)


# ---- SpargeAttn --------------------------------------------------------------------------------------------


def f16(x):
    return np.asarray(x, dtype=np.float32).astype(np.float16).astype(np.float64)


def sparge_blocks(x, b, threshold, official):
    means, similar = pooled(x, b), []
    for start, end in tiles(len(x), b):
        rows = x[start:end]
        with np.errstate(all="ignore"):
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        if official:
            unit = f16(unit)
        cosine = (unit @ unit.T).mean()
        similar.append(bool(cosine > threshold) and not (official and end - start < b))
    return (bf16(means) if official else means), similar


def spargeattn(p, h, mode="cdf", cdf=0.98, topk=0.5, sim="auto", smooth_k=1, pv=50, rounding="exact"):
    q, k = p.head(h)
    official = rounding == "official"
    sim = {"cdf": 0.6, "topk": -0.1}[mode] if sim == "auto" else sim
    if smooth_k:
        k = k - k.mean(axis=0)
    qm, q_similar = sparge_blocks(q, 128, sim, official)
    km, k_similar = sparge_blocks(k, 64, sim, official)
    rows = []
    for r in range(len(qm)):
        causal = min(2 * (r + 1), len(km))
        fixed = {c for c in range(causal) if not (q_similar[r] and k_similar[c])}
        contest = [c for c in range(causal) if c not in fixed]
        if contest:
            s = p.sigma * km[contest] @ qm[r]
            w = softmax(bf16(s)) if official else softmax(s)
            if official:
                w = bf16(w)
            best = order(w)
            total = np.cumsum(w[best])
            if official:
                total = bf16(total)
            taken = int((total <= cdf).sum()) if mode == "cdf" else math.floor(topk * len(km))
            fixed = fixed | {contest[best[0]]} | {contest[n] for n in best[:taken]}
            if not any(c <= 2 * r for c in fixed):
                fixed.add(2 * r)
        rows.append(block_keys(fixed, 64, p.n))
    return rows, 128


# ---- SALE --------------------------------------------------------------------------------------------------


def int4(x, quant, queries, official):
    """Codes and the scale of every row; quant 3 shares scales between the rows that one thread holds."""
    n = len(x)
    if quant == 2:
        group = np.arange(n)
    elif queries:
        group = np.array([(i // 16, i % 8) for i in range(n)]) @ [8, 1]
    else:
        group = np.array([(i // 32, i % 8 // 2) for i in range(n)]) @ [4, 1]
    scale = np.zeros(n)
    for g in np.unique(group):
        scale[group == g] = np.abs(x[group == g]).max() / 7
    with np.errstate(all="ignore"):
        codes = np.where(scale[:, None] > 0, np.rint(x / scale[:, None]), 0)
    return codes, (f16(scale) if official else scale)


def sale(p, h, theta_h=0.008, window=128, quant=3, rounding="exact"):
    q, k = p.head(h)
    n, official, nb = p.n, rounding == "official", -(-p.n // 32)
    everything = [set(range(min(64 * (m + 1), n))) for m in range(-(-n // 64))]
    if n <= 1024 or theta_h < 1e-5:
        return everything, 64
    k = k - k.mean(axis=0)
    mean_q = q.mean(axis=0)
    c = k @ mean_q
    q_codes, sq = int4(q - mean_q, int(quant), True, official)
    k_codes, sk = int4(k, int(quant), False, official)
    with np.errstate(all="ignore"):
        if official:
            whole = f16(q_codes @ k_codes.T + np.rint(f16(c / sk)[None, :] / sq[:, None]))
        else:
            whole = q_codes @ k_codes.T + np.rint(c[None, :] / (sk[None, :] * sq[:, None]))
    scale = sq[:, None] * sk[None, :]
    estimate = np.where(scale > 0, scale * whole, c[None, :])
    rows = []
    for m, (start, end) in enumerate(tiles(n, 64)):
        blocks = min(nb, 2 * (m + 1))
        local = next(x for x in range(10000) if 32 * x >= window and x % 4 == (blocks - 1) % 4)
        first_local = max(1, blocks - local)
        kept = {0} | set(range(first_local, blocks))
        reference = sorted({j for j in range(32)} | set(range(first_local * 32, end)))
        for i in range(start, end):
            s = q[i] @ k[[j for j in reference if j <= i]].T
            top = s.max()
            z = np.exp(p.sigma * (s - top)).sum()
            for b in range(1, first_local):
                best = estimate[i, b * 32:(b + 1) * 32].max()
                if official:
                    on = best > f16(top + math.log(z * theta_h) / p.sigma)
                else:
                    on = math.exp(p.sigma * (best - top)) / z > theta_h
                if on:
                    kept.add(b)
        rows.append(block_keys(kept, 32, n))
    return rows, 64


# ---- FlashPrefill ------------------------------------------------------------------------------------------


def flashprefill(p, h, alpha=0.1, sink=256, window=512, block=128, correction=1, pack="auto", score="exact"):
    group = p.q_heads // p.kv_heads
    packed = 1 if pack == "head" or block % group else group
    first = h // packed * packed
    q = p.q[first:first + packed]
    km = pooled(p.head(h)[1], block)
    tile = block // packed
    rows = []
    for start, end in tiles(p.n, tile):
        past = start // block
        kept = set(range(past, -(-end // block)))
        rows_q = q[:, start:end].reshape(-1, p.dim)
        if past:
            s = p.sigma * rows_q @ km[:past].T
            if score == "mean":
                u = s.mean(axis=0)
                kept |= {c for c in range(past) if alpha == 0 or u[c] >= u.max() + math.log(alpha)}
            else:
                weight = np.exp(s - s.max()).sum(axis=0)
                kept |= {c for c in range(past) if weight[c] >= alpha * weight.max()}
        kept |= {c for c in range(past) if c * block < sink}
        kept |= {c for c in range(past) if c >= math.floor((start - (window - 1)) / block)}
        rows.append(block_keys(kept, block, p.n))
    return rows, tile


# ---- oracles -----------------------------------------------------------------------------------------------


def block_oracle(p, h, mass=0.95, block=128, force_diagonal=1):
    q, k = p.head(h)
    w = causal_probabilities(q, k, p.sigma)
    grid = []
    for r, (start, end) in enumerate(tiles(p.n, block)):
        m = np.array([w[start:end, c * block:(c + 1) * block].sum() for c in range(r + 1)])
        kept = {r} if force_diagonal else {int(order(m)[0])}
        for c in order(m):
            if sum(m[list(kept)]) >= mass * m.sum():
                break
            kept.add(int(c))
        grid.append(kept)
    return as_keys(grid, block, p.n)


def stripes(p, h, theta=7, block=128, sink=4, score="pooled", window=0, correction=1):
    q, k = p.head(h)
    sets = []
    for start, end in tiles(p.n, block):
        s = p.sigma * q[start:end] @ k[:end].T
        s[:, start:][np.triu(np.ones((end - start, end - start), bool), 1)] = -np.inf
        region = np.r_[0:min(sink, start), start:end]
        lse = np.log(np.exp(s[:, region]).sum(1))
        weight = s[:, :start] - lse[:, None]  # ln, by row
        if score == "antidiagonal":
            cells = antidiagonal_softmax(p, h, 16)[start // 16:-(-end // 16), :start // 16].mean(0)
            ln = np.log(np.repeat(cells.reshape(-1, block // 16).sum(1), block))
        else:
            ln = {"pooled": lambda: weight.mean(0), "rows": lambda: np.log(np.exp(weight).mean(0)),
                  "peak": lambda: (s[:, :start] - np.log(np.exp(s).sum(1))[:, None]).max(0, initial=-np.inf)}[score]()
        kept = np.r_[region, max(0, start - window):start, np.flatnonzero(-ln <= theta)]
        sets.append({int(j) for j in kept})
    return sets, block


def stripe_oracle(p, h, mass=0.95, block=128, step=16):
    q, k = p.head(h)
    w = causal_probabilities(q, k, p.sigma)
    size = block * step
    groups = tiles(p.n, size)
    base, items, forced = [], [], float(p.n)
    for g, (start, end) in enumerate(groups):
        hole = set(range(block, start - block)) if g else set()
        base.append(set(range(end)) - hole)
        for j in sorted(hole):
            m = w[start:end, j].sum()
            items.append((m, g, j))
            forced -= m
    for n in order([m for m, _, _ in items]):
        m, g, j = items[n]
        if forced >= mass * p.n:
            break
        base[g].add(j)
        forced += m
    return base, size


# ---- SharePrefill ------------------------------------------------------------------------------------------


class SharePrefill:
    """Plans the layers of one prompt in order; what the cluster's first head leaves behind is in `pivots`."""

    def __init__(self, clusters, shared, gamma=0.9, tau_sim=0.5, phi=0.9, tau_qa=0.1, min_budget=1024, rho="unique"):
        self.cluster = {tuple(head): name for name, heads in clusters.items() if name in shared for head in heads}
        self.gamma, self.tau_sim, self.phi, self.tau_qa, self.rho = gamma, tau_sim, phi, tau_qa, rho
        self.least = max(1, -(-int(min_budget) // 128))
        self.pivots = {}

    def head(self, p, layer, h, b=128):
        nb = -(-p.n // b)
        everything = [set(range(r + 1)) for r in range(nb)]
        if p.n <= max(2 * b, self.least * b):
            return everything
        v, u, n_v, n_s, aware = flex_head(p, h, b, self.gamma, self.tau_qa, self.least, nb, b, False)
        few = vs_grid(v, u, self.least, self.least)
        if aware:
            return [a | c for a, c in zip(few, flex_query_aware(p, h, b, self.gamma, False))]
        name = self.cluster.get((layer, h))
        if name and name not in self.pivots:
            q, k = p.head(h)
            w = causal_probabilities(q, k, p.sigma)
            share = np.array([[w[s:e, c * b:(c + 1) * b].sum() / (e - s) for c in range(nb)] for s, e in tiles(p.n, b)])
            pattern = []
            for row in share:
                best = order(row)
                count = int((np.cumsum(row[best]) < self.gamma).sum()) + 1
                pattern.append(set(best[:count if count <= nb else 1].tolist()))
            self.pivots[name] = (layer, v, u, pattern, self.ratio(share, v, u, n_v, n_s))
            return everything
        if name:
            pivot_layer, pivot_v, pivot_u, pattern, ratio = self.pivots[name]
            alike = js_distance(pivot_v, v) < self.tau_sim and js_distance(pivot_u, u) < self.tau_sim
            if pivot_layer < layer and alike and ratio < self.phi:
                return [a | c for a, c in zip(few, pattern)]
        return vs_grid(v, u, n_v, n_s)

    def ratio(self, share, v, u, n_v, n_s):
        nb = len(v)
        grid = vs_grid(v, u, n_v, n_s)
        if self.rho == "unique":
            return sum(share[r, c] for r in range(nb) for c in grid[r]) / nb
        v, u = v.copy(), u.copy()
        v[0] = u[-1] = np.inf
        flat = [(r, c) if c <= r else (0, 0) for r in range(nb) for c in order(v)[:n_v]]
        for t in order(u)[:n_s]:
            flat += [(c + nb - 1 - t, c) if c + nb - 1 - t < nb else (0, 0) for c in range(nb)]
        return sum(share[r, c] for r, c in flat) / nb
