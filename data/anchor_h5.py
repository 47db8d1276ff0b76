"""Reads and writes dumps of queries, keys and values with h5py and numpy (README.md describes the file).

    with Dump("d.h5") as dump:
        q = dump.head(layer=3, part="q", head=5)                  # float32 [tokens, dim]
    with Writer("d.h5", model="mine", seq_len=4096) as writer:   # streamed: one layer in memory
        writer.layer(0, q, k, v, softmax_scale=0.125)             # float arrays [heads, tokens, dim]
"""
import datetime
import fcntl
import os

import h5py
import numpy as np


def bf16_to_float(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float_to_bf16(values):
    """Rounds to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def bf16_type():
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


class Dump:
    def __init__(self, path):
        self.file = h5py.File(path, "r")
        self.attributes = dict(self.file.attrs)
        if self.attributes.get("format") != "anchor-qkv" or not self.attributes.get("complete"):
            raise ValueError(f"{path} is not a complete anchor-qkv dump")
        self.layers = sorted(int(name) for name in self.file["layers"])

    def layer(self, layer):
        return self.file[f"layers/{layer:03}"]

    def head(self, layer, part, head):
        """Raw bytes in, converted by numpy: asking h5py for float32 is 150 times slower for bf16."""
        data = self.layer(layer)[part]
        kind = data.id.get_type()
        stored = data.dtype if kind.get_size() == 4 or kind == h5py.h5t.IEEE_F16LE else np.uint16
        raw = np.empty((1, *data.shape[1:]), stored)
        space = data.id.get_space()
        space.select_hyperslab((head, *[0] * (data.ndim - 1)), raw.shape)
        data.id.read(h5py.h5s.create_simple(raw.shape), space, raw, kind)
        return bf16_to_float(raw[0]) if stored == np.uint16 else raw[0].astype(np.float32)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


class Writer:
    """Fills PATH.part and renames it to PATH when everything was written.

    A writer that knows its layers reserves them all first. From then on only raw data and single bytes are written in
    place, so that a .part whose writer was killed at any moment opens and holds every finished layer; with resume=True
    another writer of the same dump goes on with it (`finished` says which layers it has). Errors are OSError or
    ValueError with one line.
    """

    def __init__(self, path, model, seq_len, dtype="bf16", input_ids=None, tool="anchor_h5.py", tool_version="1",
                 format_version="1.0", resume=False, **attributes):
        self.path, self.dtype, self.part, self.finished = path, dtype, f"{path}.part", set()
        self.keep = True  # after an error, the .part with the layers that are finished
        self.lock = self._lock()
        existed = os.path.getsize(self.part) > 0
        header = dict(format="anchor-qkv", format_version=format_version, model=model, seq_len=np.int64(seq_len), tool=tool,
                      tool_version=tool_version, **attributes)
        ids = None if input_ids is None else np.asarray(input_ids, "<i4")
        if resume and existed and self._open_finished(header, ids):
            return
        self.file = h5py.File(self.part, "w", libver="earliest", locking=False)
        self.file.attrs.update(
            header, complete=np.uint8(0),
            created_utc=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if ids is not None:
            self.file["input_ids"] = ids
        self.file.create_group("layers")

    def _open_finished(self, header, ids):
        """Opens the .part to go on with it; False if it holds no finished layer, so that there is nothing to lose."""
        try:
            self.file = h5py.File(self.part, "r+", libver="earliest", locking=False)
        except OSError:  # its writer was killed before it had reserved the layers
            return False
        try:
            layers = self.file["layers"]
            self.finished = {int(name) for name in layers if layers[name].attrs["complete"]}
        except (OSError, KeyError, RuntimeError):  # or while it did
            self.finished = set()
        try:
            if self.finished:
                check_same(self.file, header, ids, self.part)
                return True
        except BaseException:
            self.file.close()
            os.close(self.lock)
            raise
        self.file.close()
        return False

    def _lock(self):
        """Locks the .part before anything in it is changed."""
        descriptor = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise BlockingIOError(f"{self.part} is being written by another program") from None
        return descriptor

    def reserve(self, number, shapes, softmax_scale, **attributes):
        """Makes room for a layer. shapes: {"q": shape, "k": shape, "v": shape, and what else it will have}."""
        group = self.file["layers"].create_group(f"{number:03}")
        group.attrs.update(layer=np.int64(number), softmax_scale=np.float64(softmax_scale), causal=np.uint8(1),
                           complete=np.uint8(0), **attributes)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        for name, shape in shapes.items():
            h5py.h5d.create(group.id, name.encode(), self._type(name), h5py.h5s.create_simple(shape), properties)
        self.file.flush()

    def layer(self, number, q, k, v, softmax_scale, arrays=None, **attributes):
        """Writes a layer, reserved or not. arrays: more datasets {name: values}. ValueError if a reserved layer turns
        out to have other shapes or attributes."""
        arrays = {"q": q, "k": k, "v": v, **(arrays or {})}
        name = f"{number:03}"
        if name not in self.file["layers"]:
            self.reserve(number, {part: values.shape for part, values in arrays.items()}, softmax_scale, **attributes)
        group = self.file["layers"][name]
        for key, value in {"softmax_scale": np.float64(softmax_scale), **attributes}.items():
            if key not in group.attrs:
                raise ValueError(f"layer {number}: attribute {key} was not reserved")
            if group.attrs[key] != value:
                group.attrs.modify(key, value)
        if {part: group[part].shape for part in group} != {part: values.shape for part, values in arrays.items()}:
            raise ValueError(f"layer {number} does not have the shapes that were reserved for it")
        for part, values in arrays.items():
            kind = self._type(part)
            group[part].id.write(h5py.h5s.ALL, h5py.h5s.ALL, self._stored(number, part, values), kind)
        self.file.flush()
        group.attrs.modify("complete", np.uint8(1))
        self.file.flush()
        self.finished.add(number)

    def _type(self, part):
        if part in FLOAT32 or self.dtype == "f32":
            return h5py.h5t.IEEE_F32LE
        return bf16_type() if self.dtype == "bf16" else h5py.h5t.IEEE_F16LE

    def _stored(self, number, part, values):
        with np.errstate(over="ignore"):
            if part in FLOAT32 or self.dtype == "f32":
                stored = np.ascontiguousarray(values, "<f4")
            elif self.dtype == "bf16":
                stored = float_to_bf16(values)
            else:
                stored = np.ascontiguousarray(values, "<f2")
        if part not in FLOAT32:
            self._require_finite(number, part, values, bf16_to_float(stored) if stored.dtype == np.uint16 else stored)
        return stored

    def _require_finite(self, number, part, values, stored):
        """Says which number of a tensor is broken, or overflows the type that is stored."""
        bad = ~np.isfinite(stored)
        if not bad.any():
            return
        at = np.unravel_index(np.argmax(bad), bad.shape)
        value = np.asarray(values)[at]
        where = f"layer {number}, {part}[{', '.join(map(str, at))}]"
        if np.isfinite(value):
            wider = "f32" if self.dtype == "bf16" else "bf16 or f32"
            raise ValueError(f"{where} is {value:.6g}, which overflows {self.dtype}; take {wider}")
        raise ValueError(f"{where} is {'NaN' if np.isnan(value) else 'infinite'}: the numbers are broken before they are written")

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error is None:
            self.file.attrs.modify("complete", np.uint8(1))
        self.file.close()
        if error is None:
            os.fsync(self.lock)
            os.replace(self.part, self.path)
        elif not (self.keep and self.finished):  # nothing that anybody could go on with
            os.unlink(self.part)
        os.close(self.lock)


FLOAT32 = ("rope_inv_freq", "sink_logits")  # whatever the type of the rest


def check_same(file, header, ids, path):
    """ValueError that names what differs between a file and the dump that is asked for."""
    for name, value in header.items():
        found = file.attrs.get(name)
        if found != value:
            short = [str(v) if len(str(v)) < 60 else "another one" for v in (found, value)]
            raise ValueError(f"{path} is of another run: its {name} is {short[0]}, not {short[1]}; remove it, or do without resuming")
    stored = file["input_ids"][:] if "input_ids" in file else None
    if (stored is None) != (ids is None) or (ids is not None and not np.array_equal(stored, ids)):
        raise ValueError(f"{path} is of another run: it has other tokens; remove it, or do without resuming")
