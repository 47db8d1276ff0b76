"""AnchorAttention (arXiv 2505.23520), clean mode, straight from its definition with numpy in float64.

An independent implementation that the tools are tested against: small, slow, with the full N x N matrix.
Query row i of the dump sits at position q_start + i; groups of block * step rows count absolute positions.
"""
import numpy as np


def scores(q, k, scale, q_start):
    """Scaled causal scores [rows, keys]; -inf where the key comes after the query."""
    s = scale * (q.astype(np.float64) @ k.astype(np.float64).T)
    position = q_start + np.arange(len(q))
    s[np.arange(len(k))[None, :] > position[:, None]] = -np.inf
    return s


def log_sum_exp(s):
    top = s.max(axis=1)
    return top + np.log(np.exp(s - top[:, None]).sum(axis=1))


def anchor_region(rows, keys, q_start, block, step):
    """Mask [rows, keys] of what is kept whatever theta is: initial block and local window."""
    group = block * step
    position = q_start + np.arange(rows)[:, None]
    key = np.arange(keys)[None, :]
    group_start = position // group * group
    kept = (key < block) | (key >= group_start - block) | (group_start == 0)
    return kept & (key <= position)


def critical_theta(q, k, scale, q_start, block, step):
    """t[i, j]: the least theta at which row i sees key j; -inf in the anchor region, +inf after the row."""
    s = scores(q, k, scale, q_start)
    rows, keys = s.shape
    group = block * step
    kept = anchor_region(rows, keys, q_start, block, step)
    anchor = np.where(kept, s, -np.inf).max(axis=1)
    t = np.full((rows, keys), np.inf)
    for begin in range(0, rows, group):
        end = min(begin + group, rows)
        best = np.full(keys, np.inf)
        for u in range(begin, end, block):
            part = slice(u, min(u + block, end))
            pooled = q[part].astype(np.float64).mean(axis=0)
            best = np.minimum(best, anchor[part].mean() - scale * (k.astype(np.float64) @ pooled))
        t[begin:end] = best[None, :]
    t[kept] = -np.inf
    t[np.isneginf(s)] = np.inf
    return t


def recall_and_density(q, k, v, scale, q_start, block, step, theta):
    """(mass recall per row, density, sparse output, dense output) of one head."""
    s = scores(q, k, scale, q_start)
    causal = np.isfinite(s)
    visible = causal & (critical_theta(q, k, scale, q_start, block, step) <= theta)
    sparse = np.where(visible, s, -np.inf)
    lse, lse_dense = log_sum_exp(sparse), log_sum_exp(s)
    values = v.astype(np.float64)
    out = np.exp(sparse - lse[:, None]) @ values
    out_dense = np.exp(s - lse_dense[:, None]) @ values
    return np.exp(lse - lse_dense), visible.sum() / causal.sum(), out, out_dense


def curve(q, k, scale, q_start, block, step, thetas):
    """Density and mean mass recall at every theta."""
    s = scores(q, k, scale, q_start)
    causal = np.isfinite(s)
    p = np.exp(s - log_sum_exp(s)[:, None])
    t = critical_theta(q, k, scale, q_start, block, step)
    kept = [causal & (t <= theta) for theta in thetas]
    return [m.sum() / causal.sum() for m in kept], [p[m].sum() / len(q) for m in kept]
