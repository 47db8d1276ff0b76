"""Scores what another program computed from a dump: an attention kernel's output, or the plan it would follow (SCORING.md).

    python data/score_output.py D.h5 kernel.safetensors --name mine
    python data/score_output.py D.h5 kernel.h5 --name mine --tile 128x64 --out rows.jsonl

The file holds any of these for every layer it covers, named layers.017.out (safetensors) or layers/017/out (HDF5):
    out   [query heads, q_len, head_dim]          the attention output
    lse   [query heads, q_len]                    natural log of each row's softmax normaliser
    kept  [query heads, query tiles, key blocks]  nonzero where a tile may see a block; --tile says how large they are
It is compared with dense attention in float32 over the dump's q, k and v, within a layer's sliding window. One line a head; --out keeps result rows as
the tools write them. Needs h5py and numpy.
"""
import argparse
import datetime
import hashlib
import json
import re
import sys

import h5py
import numpy as np

from anchor_h5 import Dump, bf16_to_float

NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?", "U8": "u1", "I8": "i1", "I32": "<i4"}
ROWS = 512  # query rows at a time: scores of 128k keys then take 256 MB


def read_safetensors(path):
    """{name: function that reads it}"""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))

    def reader(entry):
        kind, (begin, end) = entry["dtype"], entry["data_offsets"]
        if kind not in NUMPY_TYPES:
            raise ValueError(f"{path}: type {kind} is not one of {', '.join(NUMPY_TYPES)}")
        raw = np.fromfile(path, NUMPY_TYPES[kind], (end - begin) // np.dtype(NUMPY_TYPES[kind]).itemsize, offset=8 + size + begin)
        return (bf16_to_float(raw) if kind == "BF16" else raw).reshape(entry["shape"])

    return {name: lambda entry=entry: reader(entry) for name, entry in header.items() if name != "__metadata__"}


def read_hdf5(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name.replace("/", "."): name}) if isinstance(item, h5py.Dataset) else None)

    def reader(name):
        with h5py.File(path) as file:
            return file[name][:]

    return {key: lambda name=name: reader(name) for key, name in found.items()}


def read_layers(path):
    """{layer: {"out" | "lse" | "kept": function that reads it}}"""
    tensors = read_hdf5(path) if h5py.is_hdf5(path) else read_safetensors(path)
    layers = {}
    for name, read in tensors.items():
        match = re.fullmatch(r"layers\.(\d+)\.(?:ref\.)?(out|lse|kept)", name)
        if match:
            layers.setdefault(int(match[1]), {})[match[2]] = read
    return layers


class Head:
    """One head's q, k, v in float32, and its exact attention some rows at a time."""

    def __init__(self, dump, layer, head):
        group = dump.layer(layer)
        heads, self.rows, _ = group["q"].shape
        kv_head = head // (heads // group["k"].shape[0])
        self.q, self.k, self.v = dump.head(layer, "q", head), dump.head(layer, "k", kv_head), dump.head(layer, "v", kv_head)
        self.keys = len(self.k)
        self.start = int(group.attrs.get("q_start", self.keys - self.rows))
        self.scale = float(group.attrs["softmax_scale"])
        self.window = int(group.attrs.get("sliding_window", 0)) or self.keys

    def seen(self, begin, end):
        """Which keys the rows [begin, end) see: those up to their own place that lie in the layer's window."""
        distance = self.start + np.arange(begin, end)[:, None] - np.arange(self.keys)
        return (distance >= 0) & (distance < self.window)

    def chunks(self):
        """Yields (begin, end, mass [rows, keys], out, lse): mass sums to 1 in every row and is 0 where it sees no key."""
        for begin in range(0, self.rows, ROWS):
            end = min(begin + ROWS, self.rows)
            scores = np.float32(self.scale) * (self.q[begin:end] @ self.k.T)
            scores[~self.seen(begin, end)] = -np.inf
            top = scores.max(axis=1, keepdims=True)
            mass = np.exp(scores - top)
            total = mass.sum(axis=1, keepdims=True, dtype=np.float64)
            mass /= total.astype(np.float32)
            yield begin, end, mass, mass @ self.v, (top + np.log(total))[:, 0]


def score_head(dump, layer, head, given, tile):
    """The fields of a result row; their definitions are those of the tools (lib/anchor/metrics)."""
    data = Head(dump, layer, head)
    recall, differences, squares, pairs, all_pairs, worst_lse, row, warnings = [], [], 0.0, 0, 0, 0.0, {}, []
    for begin, end, mass, out, lse in data.chunks():
        if "out" in given:
            differences.append(np.abs(given["out"][head, begin:end].astype(np.float32) - out))
            squares += float(np.sum(out.astype(np.float64) ** 2))
        if "kept" in given:
            blocks = given["kept"][head][np.arange(begin, end) // tile[0]] != 0
            seen = data.seen(begin, end)
            visible = np.repeat(blocks, tile[1], axis=1)[:, :data.keys] & seen
            pairs += int(visible.sum())
            all_pairs += int(seen.sum())
            recall.append(np.sum(mass * visible, axis=1, dtype=np.float64))
            if "lse" in given:
                with np.errstate(divide="ignore"):
                    off = np.abs(np.log(recall[-1]) + lse - given["lse"][head, begin:end])
                worst_lse = max(worst_lse, float(np.nan_to_num(off[recall[-1] > 0]).max(initial=0)))
        elif "lse" in given:
            recall.append(np.exp(given["lse"][head, begin:end].astype(np.float64) - lse))
    if "kept" in given:
        row["density"] = pairs / all_pairs
    if recall:
        recall = np.concatenate(recall)
        row.update(mass_recall=float(recall.mean()), mass_recall_p05=float(np.percentile(recall, 5)), mass_recall_min=float(recall.min()))
        if recall.max() > 1.01:
            warnings.append(f"lse is up to {np.log(recall.max()):.3g} above the dense one: natural log? the same softmax scale?")
    if worst_lse > 0.05:
        warnings.append(f"lse is up to {worst_lse:.3g} off what the plan in `kept` would give: did the kernel follow it?")
    if differences:
        off = np.concatenate(differences)
        row.update({"output_recall_0.01": float((off < 0.01).mean()), "output_recall_0.005": float((off < 0.005).mean()),
                    "out_rel_l2": float(np.sqrt(np.sum(off.astype(np.float64) ** 2) / squares)) if squares else 0.0,
                    "out_max_abs": float(off.max()), "out_mean_abs": float(off.mean())})
        if not np.isfinite(off).all():
            raise ValueError(f"layer {layer} head {head}: the output is not finite")
    return row, warnings


def check_replayable(path, layer, group):
    """Dense causal attention over stored q and k, within the layer's window, is what outputs are held against."""
    attributes = group.attrs
    obstacles = {"is not causal": attributes["causal"] == 0,
                 "was taken before RoPE": attributes.get("rope_applied", 1) == 0, "has a soft cap": attributes.get("softcap", 0) != 0,
                 "has attention sinks": "sink_logits" in group}
    for obstacle, found in obstacles.items():
        if found:
            raise ValueError(f"{path}: layer {layer} {obstacle}: its attention is not dense and causal over the stored q and k; "
                             "score the other layers")


def check_shapes(given, group, layer, tile):
    heads, rows, dim = group["q"].shape
    keys = group["k"].shape[1]
    wanted = {"out": (heads, rows, dim), "lse": (heads, rows), "kept": (heads, -(-rows // tile[0]), -(-keys // tile[1]))}
    for name, values in given.items():
        if values.shape != wanted[name]:
            raise ValueError(f"layer {layer}: {name} is {list(values.shape)}, the dump needs {list(wanted[name])}"
                             + (f" with tiles of {tile[0]} queries x {tile[1]} keys (--tile)" if name == "kept" else ""))


def score(args):
    layers = read_layers(args.output)
    if not layers:
        raise ValueError(f"{args.output}: no tensor is named like layers.000.out, .lse or .kept")
    rows = []
    with Dump(args.dump) as dump:
        for layer, tensors in sorted(layers.items()):
            if layer not in dump.layers:
                raise ValueError(f"{args.output}: layer {layer} is not in {args.dump}, which has {dump.layers}")
            group = dump.layer(layer)
            check_replayable(args.dump, layer, group)
            heads, q_len, dim = group["q"].shape
            kv_heads, kv_len, _ = group["k"].shape
            window = int(group.attrs.get("sliding_window", 0))
            given = {name: read() for name, read in tensors.items()}
            check_shapes(given, group, layer, args.tile)
            for head in range(heads):
                values, warnings = score_head(dump, layer, head, given, args.tile)
                for warning in warnings:
                    print(f"layer {layer} head {head}: {warning}", file=sys.stderr)
                unit = hashlib.blake2b(json.dumps([args.name, args.dump, args.output, layer, head, values]).encode(), digest_size=8)
                rows.append({
                    "schema": "anchor-result/1", "unit": unit.hexdigest(), "kind": "recall", "scope": "head", "status": "ok",
                    "dump": {"path": args.dump, "model": str(dump.attributes["model"]), "layer": layer, "head": head,
                             "kv_head": head // (heads // kv_heads)},
                    "geometry": {"q_heads": heads, "kv_heads": kv_heads, "q_len": q_len, "kv_len": kv_len,
                                 "q_start": int(group.attrs.get("q_start", kv_len - q_len)), "head_dim": dim, "dtype": "f32",
                                 **({"window": window} if window > 0 else {})},
                    "method": args.name, "device": "cpu", "path": "external", **values,
                    "tool": {"version": "score_output.py"}, "env": {}, "argv": sys.argv,
                    "t": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")})
    return rows


def print_table(rows, name):
    fields = [f for f in ("density", "mass_recall", "mass_recall_min", "output_recall_0.01", "out_rel_l2") if f in rows[0]]
    print("| layer | head | " + " | ".join(fields) + " |")
    print("|------:|-----:|" + "|".join("-" * (len(field) + 1) + ":" for field in fields) + "|")
    for row in rows:
        cells = [f"{row[field]:{len(field)}.4f}" for field in fields]
        print(f"| {row['dump']['layer']:5} | {row['dump']['head']:4} | " + " | ".join(cells) + " |")
    means = ", ".join(f"{field} {np.mean([row[field] for row in rows]):.4f}" for field in fields)
    print(f"\n{name}, mean over {len(rows)} heads: {means}")


def tile_size(text):
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or "0" in match.groups():
        raise argparse.ArgumentTypeError(f"{text}: write QUERIESxKEYS, such as 128x64")
    return int(match[1]), int(match[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", help="the dump that the other program read")
    parser.add_argument("output", help="what it computed: HDF5 or safetensors")
    parser.add_argument("--name", default="external", help="what to call it in the rows")
    parser.add_argument("--tile", type=tile_size, default=(128, 128), metavar="QxK", help="tile of `kept` (default 128x128)")
    parser.add_argument("-o", "--out", help="write the rows to a jsonl file")
    args = parser.parse_args()
    try:
        rows = score(args)
        print_table(rows, args.name)
        if args.out:
            with open(args.out, "w") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
    except (OSError, ValueError) as error:
        raise SystemExit(f"score_output.py: {error}")


if __name__ == "__main__":
    main()
