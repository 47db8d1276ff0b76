"""anchor-dump as a user runs it: files that other programs wrote, files that are broken, writers that die."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import h5py
import numpy as np

from anchor_h5 import Dump, Writer, bf16_to_float, bf16_type, float_to_bf16

TOOL = os.path.join(os.environ["ANCHOR_BIN"], "anchor-dump")
RECALL = os.path.join(os.environ["ANCHOR_BIN"], "anchor-recall")


def safetensors_header(path):
    with open(path, "rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="anchor_dump_")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_tool(self, *arguments, code=0, **options):
        """Runs anchor-dump, checks its exit code and returns stdout, or on an error its one line of stderr."""
        done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if code not in (1, 2, 130):
            self.assertEqual(done.stderr, "")
            return done.stdout
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, r"^anchor-dump: .+\n$")
        return done.stderr

    def synthetic(self, name, *arguments, code=0, **options):
        return self.run_tool("synthetic", "--seq", 200, "--q-heads", 4, "--kv-heads", 2, "--dim", 64, "--layers", 2,
                             "--out", self.path(name), *arguments, code=code, **options)

    def write(self, name, dtype="bf16", **attributes):
        """A dump by the h5py writer, and what it holds."""
        random = np.random.default_rng(1)
        q, k, v = (random.normal(size=(heads, 50, 16)).astype(np.float32) for heads in (4, 2, 2))
        with Writer(self.path(name), model="by h5py", seq_len=50, dtype=dtype, input_ids=range(50)) as writer:
            for layer in (0, 7):
                writer.layer(layer, q + layer, k, v, 0.25, **attributes)
        return q, k, v


class Interoperability(Case):
    def test_tools_read_what_h5py_writes(self):
        for dtype, bound in (("bf16", 2**-8), ("f16", 2**-11), ("f32", 0)):
            q, k, v = self.write("d.h5", dtype)
            self.assertIn("ok, 2 layers", self.run_tool("verify", self.path("d.h5")))
            row = json.loads(self.run_tool("inspect", self.path("d.h5"), "--format", "jsonl").splitlines()[1])
            self.assertEqual([row[name] for name in ("layer", "q_heads", "kv_heads", "q_len", "head_dim", "dtype", "softmax_scale")],
                             [7, 4, 2, 50, 16, dtype, 0.25])
            self.assertEqual(row["dump"]["input_ids"], 50)
            # Through the C++ reader and writer, back to numpy: bit for bit what h5py stored.
            self.run_tool("export", self.path("d.h5"), "-o", self.path("d.safetensors"))
            self.run_tool("import", self.path("d.safetensors"), "-o", self.path("e.h5"))
            with Dump(self.path("d.h5")) as first, Dump(self.path("e.h5")) as second:
                for layer in (0, 7):
                    for part, heads, wanted in (("q", 4, q + layer), ("k", 2, k), ("v", 2, v)):
                        for head in range(heads):
                            got = second.head(layer, part, head)
                            self.assertTrue(np.array_equal(got, first.head(layer, part, head)))
                            self.assertTrue(np.all(np.abs(got - wanted[head]) <= bound * np.abs(wanted[head])))

    def test_h5py_reads_what_the_tools_write(self):
        for dtype in ("bf16", "f16", "f32"):
            self.synthetic("d.h5", "--dtype", dtype)
            with Dump(self.path("d.h5")) as dump:
                self.assertEqual(dump.layers, [0, 1])
                self.assertEqual(dump.attributes["format"], "anchor-qkv")
                data = dump.layer(1)["q"]
                self.assertEqual(data.shape, (4, 200, 64))
                self.assertIsNotNone(data.id.get_offset())
                # h5py's own conversion of the stored float type agrees with ours
                self.assertTrue(np.array_equal(data[2].astype(np.float32), dump.head(1, "q", 2)))
                truth = json.loads(dump.layer(1).attrs["truth_json"])
                self.assertEqual([head["head"] for head in truth], [0, 1, 2, 3])

    def test_the_committed_dump_is_what_its_command_makes(self):
        data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data")
        self.run_tool("verify", os.path.join(data, "synthetic.h5"))
        with open(os.path.join(data, "README.md")) as file:
            command = re.search(r"^- `synthetic.h5`:\s+`(anchor-dump [^`]+)`", file.read(), re.M)[1]
        arguments = command.replace("data/synthetic.h5", self.path("again.h5")).split()[1:]
        self.run_tool(*arguments)
        with Dump(os.path.join(data, "synthetic.h5")) as first, Dump(self.path("again.h5")) as second:
            for layer in first.layers:
                for part in "qkv":
                    self.assertEqual(first.layer(layer)[part].attrs["xxh3_64"], second.layer(layer)[part].attrs["xxh3_64"])

    def test_chunked_compressed_and_uint16_files_are_read(self):
        q, k, v = self.write("d.h5", "f32")
        self.write("u.h5", "f32")
        with h5py.File(self.path("d.h5"), "r+") as file:
            group = file["layers/007"]
            data = group["q"][:]
            del group["q"]
            group.create_dataset("q", data=data, chunks=(1, 7, 16), compression="gzip", shuffle=True)
        self.run_tool("verify", self.path("d.h5"))
        self.run_tool("export", self.path("d.h5"), "-o", self.path("d.safetensors"))
        self.run_tool("import", self.path("d.safetensors"), "-o", self.path("e.h5"))
        with Dump(self.path("e.h5")) as dump:
            self.assertTrue(np.array_equal(dump.head(7, "q", 3), q[3] + 7))
        with h5py.File(self.path("u.h5"), "r+") as file:
            for group in file["layers"].values():
                for name in "qkv":
                    bits = float_to_bf16(group[name][:])
                    del group[name]
                    group[name] = bits
                    group[name].attrs["dtype"] = "bfloat16"
        self.assertIn('"dtype":"bf16"', self.run_tool("inspect", self.path("u.h5"), "--format", "jsonl"))
        self.run_tool("export", self.path("u.h5"), "-o", self.path("u.safetensors"))
        self.run_tool("import", self.path("u.safetensors"), "-o", self.path("v.h5"))
        with Dump(self.path("v.h5")) as dump:
            self.assertTrue(np.array_equal(dump.head(7, "q", 3), bf16_to_float(float_to_bf16(q[3] + 7))))

    def test_only_the_required_attributes(self):
        self.write("d.h5")
        with h5py.File(self.path("d.h5"), "r+") as file:
            del file["input_ids"]
            for group in file["layers"].values():
                self.assertEqual(set(group.attrs), {"layer", "softmax_scale", "causal", "complete"})
            file.attrs["complete"] = True  # a truth value, which h5py stores as an enumeration
            file.attrs["model"] = np.bytes_("fixed length")
        self.run_tool("verify", self.path("d.h5"))

    def test_safetensors_of_others(self):
        self.write("d.h5")
        self.run_tool("export", self.path("d.h5"), "-o", self.path("d.safetensors"))
        with open(self.path("d.safetensors"), "rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header, data = json.loads(file.read(header_bytes)), file.read()
        self.assertEqual(header["layers.007.q"]["dtype"], "BF16")
        self.assertEqual(header["__metadata__"]["layers.007.softmax_scale"], "0.25")
        del header["__metadata__"]
        text = json.dumps({name.replace("007", "7"): entry for name, entry in header.items()}).encode()
        with open(self.path("plain.safetensors"), "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text + data)
        plain, out = self.path("plain.safetensors"), self.path("e.h5")
        self.assertIn("--model", self.run_tool("import", plain, "-o", out, "--softmax-scale", 0.25, code=1))
        self.assertIn("--softmax-scale", self.run_tool("import", plain, "-o", out, "--model", "m", code=1))
        self.run_tool("import", plain, "-o", out, "--model", "m", "--softmax-scale", 0.25)
        with Dump(self.path("d.h5")) as first, Dump(out) as second:
            self.assertTrue(np.array_equal(first.head(7, "k", 1), second.head(7, "k", 1)))
            self.assertTrue(np.array_equal(first.file["input_ids"], second.file["input_ids"]))


class BadInput(Case):
    def test_not_a_dump(self):
        with open(self.path("text.h5"), "w") as file:
            file.write("no HDF5 here\n" * 100)
        with h5py.File(self.path("other.h5"), "w") as file:
            file["x"] = np.zeros(3)
        os.mkdir(self.path("folder.h5"))
        for name, message in (("absent.h5", "No such file"), ("text.h5", "not an HDF5 file"), ("other.h5", "not a dump"),
                              ("folder.h5", "not an HDF5 file")):
            for command in ("inspect", "verify"):
                self.assertIn(message, self.run_tool(command, self.path(name), code=1))

    def test_truncated_file(self):
        self.write("d.h5")
        size = os.path.getsize(self.path("d.h5"))
        for length in (size - 1, size // 2, 3000, 100, 7):
            os.truncate(self.path("d.h5"), length)
            self.run_tool("inspect", self.path("d.h5"), code=1)

    def check_broken(self, change, message, verify_code=4):
        """After `change`, export refuses the file, and verify says the same."""
        self.write("d.h5")
        with h5py.File(self.path("d.h5"), "r+") as file:
            change(file)
        out = self.path("out.safetensors")
        self.assertRegex(self.run_tool("export", self.path("d.h5"), "-o", out, code=1), message)
        self.assertFalse(os.path.exists(out))
        self.assertRegex(self.run_tool("verify", self.path("d.h5"), code=verify_code), message)

    def test_schema(self):
        def replace(name, values, **attributes):
            def change(file):
                del file[name]
                if values is not None:
                    file[name] = values
                    file[name].attrs.update(attributes)
            return change

        def attribute(path, name, value):
            def change(file):
                if value is None:
                    del file[path].attrs[name]
                else:
                    file[path].attrs[name] = value
            return change

        layer = "layers/007"
        for change, message, code in (
                (attribute("/", "format", "other"), "not a dump", 1),
                (attribute("/", "format_version", "2.0"), 'format_version is "2.0"', 1),
                (attribute("/", "format_version", "new"), 'format_version is "new"', 1),
                (attribute("/", "seq_len", None), "seq_len is missing", 1),
                (attribute("/", "complete", 0), "incomplete", 4),
                (attribute(layer, "softmax_scale", None), "/layers/007: attribute softmax_scale is missing", 4),
                (attribute(layer, "softmax_scale", np.nan), "softmax_scale is nan", 4),
                (attribute(layer, "layer", 3), "attribute layer is 3", 4),
                (attribute(layer, "complete", 0), "/layers/007: the layer is incomplete", 4),
                (attribute(layer, "q_start", 1), "do not lie among the 50 keys", 4),
                (attribute(layer, "causal", "yes"), "causal must be an integer", 4),
                (replace(layer + "/k", None), "/layers/007/k: no such dataset", 4),
                (replace(layer + "/q", np.zeros((50, 16), "f4")), "three axes", 4),
                (replace(layer + "/q", np.zeros((3, 50, 16), "f4")), "3 query heads are not a multiple of 2", 4),
                (replace(layer + "/q", np.zeros((4, 0, 16), "f4")), "empty axis", 4),
                (replace(layer + "/q", np.zeros((4, 50, 17), "f4")), "head_dim 16 differs from that of q, 17", 4),
                (replace(layer + "/v", np.zeros((2, 49, 16), "f4")), "differs from that of k", 4),
                (replace(layer + "/v", np.zeros((2, 50, 24), "f4")), "values of 24 dimensions and keys of 16: attention replay takes heads of one width", 4),
                (replace(layer + "/v", np.zeros((2, 50, 16), "f4")), "type f32 differs from that of q, bf16", 4),
                (replace(layer + "/q", np.zeros((4, 50, 16), "f8")), "float of 8 bytes is none of f32, f16, bf16", 4),
                (replace(layer + "/q", np.zeros((4, 50, 16), ">f4")), "big-endian", 4),
                (replace(layer + "/q", np.zeros((4, 50, 16), "u2")), "dtype = .bfloat16.", 4)):
            with self.subTest(message):
                self.check_broken(change, message, code)

    def test_numbers_and_checksums(self):
        self.synthetic("d.h5")
        with h5py.File(self.path("d.h5"), "r+") as file:
            data = file["layers/001/k"]
            raw = data.id
            bits = np.empty(data.shape, np.uint16)
            raw.read(h5py.h5s.ALL, h5py.h5s.ALL, bits, bf16_type())
            bits[1, 17, 5] = 0x7FC0
            raw.write(h5py.h5s.ALL, h5py.h5s.ALL, bits, bf16_type())
        lines = self.run_tool("verify", self.path("d.h5"), code=4).splitlines()
        self.assertEqual(len(lines), 2)
        self.assertIn("layer 1, k[head 1, token 17, 5] is NaN", lines[0])
        self.assertRegex(lines[1], "layer 1, k: the bytes have the checksum")

    def test_incomplete_dump(self):
        self.write("d.h5")
        with h5py.File(self.path("d.h5"), "r+") as file:
            del file.attrs["complete"]
            del file["layers/007"].attrs["complete"]
        out = self.path("out.safetensors")
        self.assertIn("--allow-incomplete", self.run_tool("export", self.path("d.h5"), "-o", out, code=1))
        self.run_tool("export", self.path("d.h5"), "-o", out, "--allow-incomplete")
        with open(out, "rb") as file:
            header = file.read(4000)
        self.assertIn(b"layers.000.q", header)
        self.assertNotIn(b"layers.007.q", header)

    def test_safetensors(self):
        good = {"layers.0.q": {"dtype": "F32", "shape": [1, 2, 2], "data_offsets": [0, 16]},
                "layers.0.k": {"dtype": "F32", "shape": [1, 2, 2], "data_offsets": [16, 32]},
                "layers.0.v": {"dtype": "F32", "shape": [1, 2, 2], "data_offsets": [32, 48]}}

        def attempt(header, message, length=None, data=bytes(48)):
            text = header if isinstance(header, bytes) else json.dumps(header).encode()
            with open(self.path("x.safetensors"), "wb") as file:
                file.write((len(text) if length is None else length).to_bytes(8, "little") + text + data)
            out = self.path("x.h5")
            error = self.run_tool("import", self.path("x.safetensors"), "-o", out, "--model", "m", "--softmax-scale", 1, code=1)
            self.assertRegex(error, message)
            self.assertEqual([name for name in os.listdir(self.folder) if name != "x.safetensors"], [])

        def changed(**fields):
            return {**good, "layers.0.q": {**good["layers.0.q"], **fields}}

        attempt(good, "not a safetensors file", length=2**63)
        attempt(good, "not a safetensors file", length=500)
        attempt(b"{", "not a JSON object")
        attempt(b"[" * 100000, "not a JSON object")
        attempt({}, "no tensor is named")
        attempt({**good, "other": good["layers.0.q"]}, "none of layers.NNN.q")
        attempt({name: good[name] for name in list(good)[:2]}, '"layers.0.v" is missing')
        attempt({**good, "layers.00.q": good["layers.0.q"]}, "twice")
        attempt(changed(data_offsets=[40, 56]), "lies at bytes 40 to 56 of 48")
        attempt(changed(data_offsets=[16, 0]), "lies at bytes")
        attempt(changed(data_offsets=[0, 2**64 - 1]), "needs dtype, shape and two data_offsets")
        attempt(changed(shape=[1, 2, 3]), "does not fill its 16 bytes")
        attempt(changed(shape=[2**40, 2**40, 2**40]), "does not fill its 16 bytes")
        attempt(changed(shape=[-1, 2, 2]), "needs dtype, shape")
        attempt(changed(shape=[1, 1, 4]), "head_dim 2 differs from that of q, 4")
        attempt(changed(dtype="F4"), 'unknown type "F4"')
        attempt(changed(dtype="I32"), "is I32, not F32")
        attempt({**good, "__metadata__": {"seed": 3}}, "is not a string")
        attempt({**good, "__metadata__": {"layers.0.causal": "maybe"}}, "not a number")

    def test_import_takes_what_its_readers_take(self):
        def write(q, k, **metadata):
            header, data = {"__metadata__": {"model": "m", "layers.0.softmax_scale": "0.5", **metadata}}, b""
            for name, shape in (("q", q), ("k", k), ("v", k)):
                size = 4 * int(np.prod(shape))
                header["layers.0." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + size]}
                data += bytes(size)
            text = json.dumps(header).encode()
            with open(self.path("x.safetensors"), "wb") as file:
                file.write(len(text).to_bytes(8, "little") + text + data)
            return self.path("x.safetensors"), "-o", self.path("x.h5")

        good = [2, 6, 4], [1, 6, 4]
        for shapes, metadata, message in (
                (good, {"layers.0.softmax_scale": "inf"}, "softmax_scale is inf"),
                (good, {"layers.0.softmax_scale": "-1"}, "softmax_scale is -1"),
                (good, {"layers.0.q_start": "1e300"}, "not a whole number"),
                (good, {"layers.0.q_start": "0.5"}, "not a whole number"),
                (good, {"layers.0.q_start": "1"}, "do not lie among the 6 keys"),
                (good, {"layers.0.sliding_window": "-3"}, "sliding_window is -3"),
                (([6, 4, 8], [6, 2, 8]), {}, "head, token, dim"),  # [token, head, dim]
                (([6, 2, 8], [6, 2, 8]), {"seq_len": "6"}, "head, token, dim"),
                (([3, 6, 4], [2, 6, 4]), {}, "not a multiple of 2")):
            with self.subTest(message):
                self.assertIn(message, self.run_tool("import", *write(*shapes, **metadata), code=1))
                self.assertEqual(os.listdir(self.folder), ["x.safetensors"])
        self.run_tool("import", *write(*good))
        self.run_tool("verify", self.path("x.h5"))
        os.remove(self.path("x.h5"))
        source = pathlib.Path(write(*good)[0])
        content = bytearray(source.read_bytes())
        for bits, word in ((b"\0\0\xc0\x7f", "NaN"), (b"\0\0\x80\xff", "infinite")):
            content[-4 * (6 * 4 + 3):-4 * (6 * 4 + 2)] = bits  # behind k's last element but two
            source.write_bytes(content)
            self.assertIn(f"layer 0, k[head 0, token 5, 1] is {word}", self.run_tool("import", source, "-o", self.path("x.h5"), code=1))
            self.assertEqual(os.listdir(self.folder), ["x.safetensors"])

    def test_a_long_header_is_read_at_once(self):
        names = {f"tensor{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(80000)}
        text = json.dumps(names).encode()
        with open(self.path("x.safetensors"), "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        self.assertIn("none of layers.NNN.q", self.run_tool("import", self.path("x.safetensors"), "-o", self.path("x.h5"), code=1))
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 3)  # was 19 s

    def test_usage(self):
        for arguments, message in ((["--seq", "8x"], "8x is not a whole number"), (["--q-heads", "3", "--kv-heads", "2"], "not a multiple of 2"),
                                   (["--pattern", "strip"], "none of sink, local"), (["--dtype", "f8"], "f8"),
                                   (["--dim", "0"], "at least 1"), (["--foo"], "--foo"), (["--seq", "200", "--q-len", "300"], "do not fit")):
            self.assertIn(message, self.run_tool("synthetic", "--out", self.path("d.h5"), *arguments, code=2))
            self.assertEqual(os.listdir(self.folder), [])

    def test_unwritable_output(self):
        self.write("d.h5")
        os.mkdir(self.path("folder"))
        for place in (self.path("absent/d.h5"), "/proc/d.h5", self.path("folder")):
            for command in (["synthetic", "--seq", 64], ["import", self.path("d.safetensors")]):
                if command[0] == "import":
                    self.run_tool("export", self.path("d.h5"), "-o", self.path("d.safetensors"))
                self.assertIn("cannot write", self.run_tool(*command, "-o", place, code=1))
            if place != self.path("folder"):
                self.assertIn("cannot write", self.run_tool("export", self.path("d.h5"), "-o", place, code=1))


class Hostile(Case):
    """Files that lead elsewhere, lie about sizes, or cannot be unpacked: one line, nothing read or written."""

    def refused(self, message, change=None, **options):
        if change is not None:
            self.write("d.h5", "f32")
            with h5py.File(self.path("d.h5"), "r+") as file:
                change(file["layers/007"])
        for command in ([TOOL, "verify"], [TOOL, "export", "-o", self.path("out.safetensors")], [RECALL, "--device", "cpu", "-q"]):
            done = subprocess.run([*command, self.path("d.h5")], capture_output=True, text=True, timeout=60, **options)
            self.assertIn(done.returncode, (1, 4), done.stderr)
            self.assertRegex(done.stdout + done.stderr, message)
            self.assertEqual((done.stdout + done.stderr).count("\n"), 1)
        self.assertFalse(os.path.exists(self.path("out.safetensors")))

    def replace(self, **storage):
        def change(group):
            data = group["k"][:]
            del group["k"]
            group.create_dataset("k", data=data, **storage)
        return change

    def test_links(self):
        self.write("other.h5", "f32")
        for link, message in ((h5py.ExternalLink("other.h5", "/layers/007/k"), "a link to another file"), (h5py.SoftLink("/layers/000/k"), "a soft link")):
            def change(group, link=link):
                del group["k"]
                group["k"] = link
            self.refused("layers/007/k: it is " + message, change)
        self.write("d.h5", "f32")
        with h5py.File(self.path("d.h5"), "r+") as file:
            del file["layers/007"]
            file["layers/007"] = h5py.ExternalLink("other.h5", "/layers/007")
        self.refused("layers/007: it is a link to another file")

    def test_data_in_other_files(self):
        def external(group):
            del group["k"]
            group.create_dataset("k", (2, 50, 16), "<f4", external=[(self.path("other.raw"), 0, 6400)])
        with open(self.path("other.raw"), "wb") as file:
            file.write(bytes(6400))
        self.refused("external storage", external)

        def virtual(group):
            layout = h5py.VirtualLayout((2, 50, 16), "<f4")
            layout[:] = h5py.VirtualSource(self.path("other.h5"), "k", (2, 50, 16))
            del group["k"]
            group.create_virtual_dataset("k", layout)
        self.refused("view of other datasets", virtual)

    def test_sizes(self):
        def chunked(group, written=False, shape=(2, 2**24, 16), chunks=(1, 1024, 16)):
            del group["k"], group["v"]
            for name in "kv":
                group.create_dataset(name, shape, "<f4", chunks=chunks)
            if written:
                group["k"][0, :1024] = 1
        self.refused("nothing was ever written", chunked)
        self.refused("only 65536 are stored", lambda group: chunked(group, written=True))
        self.refused("chunks of 335544320 bytes are too big", lambda group: chunked(group, chunks=(1, 5 * 2**20, 16)))
        self.refused("head, token, dim: at most", lambda group: chunked(group, shape=(1, 2**60 + 16, 16)))

    def test_a_missing_filter_is_named(self):
        self.refused("lzf", self.replace(compression="lzf"))

    def damage_chunks(self):
        """Changes a byte in the middle of every compressed chunk of d.h5; returns their number."""
        places = []
        with h5py.File(self.path("d.h5"), "r") as file:
            for group in file["layers"].values():
                for data in (group[name] for name in "qkv" if group[name].chunks):
                    chunks = [data.id.get_chunk_info(i) for i in range(data.id.get_num_chunks())]
                    places += [chunk.byte_offset + chunk.size // 2 for chunk in chunks]
        content = bytearray(pathlib.Path(self.path("d.h5")).read_bytes())
        for place in places:
            content[place] ^= 255
        pathlib.Path(self.path("d.h5")).write_bytes(content)
        return len(places)

    def test_damaged_chunks(self):
        self.write("d.h5", "f32")
        with h5py.File(self.path("d.h5"), "r+") as file:
            self.replace(compression="gzip", fletcher32=True)(file["layers/007"])
        self.damage_chunks()
        self.assertRegex(self.run_tool("verify", self.path("d.h5"), code=4), "^.*layers/007/k: cannot read it.*\n$")
        done = subprocess.run([RECALL, "--device", "cpu", "-q", self.path("d.h5")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^anchor-recall: .*layers/007/k: cannot read it.*\n$")
        with Writer(self.path("d.h5"), model="m", seq_len=50, dtype="f32") as writer:
            for layer in range(8):
                writer.layer(layer, *(np.ones((heads, 50, 16), "f4") for heads in (4, 2, 2)), 0.25)
        with h5py.File(self.path("d.h5"), "r+") as file:
            for group in file["layers"].values():
                self.replace(chunks=(1, 50, 16), compression="gzip", fletcher32=True)(group)
        self.assertEqual(self.damage_chunks(), 16)
        lines = self.run_tool("verify", self.path("d.h5"), code=4).splitlines()
        self.assertEqual(len(lines), 4)  # the first, and a count
        self.assertRegex(lines[0], "layers/000/k: cannot read it")
        self.assertEqual(lines[3], "and 5 more")

    def test_a_layer_that_does_not_open_is_left_out(self):
        """What a writer of an earlier version leaves that was killed while it wrote metadata."""
        self.write("d.h5", "f32")
        with h5py.File(self.path("d.h5"), "r+") as file:
            file.attrs.modify("complete", np.uint8(0))
            address = h5py.h5o.get_info(file["layers/007"].id).addr
        with open(self.path("d.h5"), "r+b") as file:
            file.seek(address)
            file.write(b"\xff" * 16)
        out = self.path("out.safetensors")
        self.run_tool("export", self.path("d.h5"), "-o", out, code=1)
        self.run_tool("export", self.path("d.h5"), "-o", out, "--allow-incomplete")
        self.assertIn("layers.000.q", safetensors_header(out))
        self.assertNotIn("layers.007.q", safetensors_header(out))
        self.assertIn("layers/007: cannot open it", self.run_tool("verify", self.path("d.h5"), code=4))

    def test_pipes_do_not_hang(self):
        os.mkfifo(self.path("d.h5"))
        self.refused("not an HDF5 file but a pipe")

    def test_a_locked_file_says_so(self):
        self.write("d.h5")
        with h5py.File(self.path("d.h5"), "r+"):
            self.assertIn("locked by another process", self.run_tool("inspect", self.path("d.h5"), code=1))
            self.run_tool("verify", self.path("d.h5"), env={**os.environ, "HDF5_USE_FILE_LOCKING": "FALSE"})


class Outputs(Case):
    def test_an_input_is_never_the_output(self):
        self.write("d.h5")
        os.link(self.path("d.h5"), self.path("same.h5"))
        self.run_tool("export", self.path("d.h5"), "-o", self.path("d.safetensors"))
        os.symlink("d.safetensors", self.path("link.safetensors"))

        def contents():
            return {path.name: path.read_bytes() for path in pathlib.Path(self.folder).iterdir()}
        before = contents()
        for command in (["export", self.path("d.h5"), "-o", self.path("d.h5")], ["export", self.path("d.h5"), "-o", self.path("same.h5")],
                        ["import", self.path("d.safetensors"), "-o", self.path("d.safetensors")],
                        ["import", self.path("d.safetensors"), "-o", self.path("link.safetensors")]):
            self.assertIn("must be another file", self.run_tool(*command, code=2))
        self.assertEqual(contents(), before)

    def test_links_are_written_through_and_devices_kept(self):
        os.mkdir(self.path("other"))
        for link, command in (("l.h5", ["synthetic", "--seq", 64, "-q"]), ("l.safetensors", None)):
            os.symlink(os.path.join("other", link), self.path(link))
            if command is None:
                self.write("d.h5")
                command = ["export", self.path("d.h5")]
            self.run_tool(*command, "-o", self.path(link))
            self.assertTrue(os.path.islink(self.path(link)))
            self.assertGreater(os.path.getsize(self.path(os.path.join("other", link))), 4096)
        os.mkfifo(self.path("pipe.h5"))
        self.assertIn("a device or a pipe", self.run_tool("synthetic", "--seq", 64, "-o", self.path("pipe.h5"), code=1))
        self.assertIn("a device or a pipe", self.run_tool("synthetic", "--seq", 64, "-o", "/dev/null", code=1))
        self.run_tool("export", self.path("d.h5"), "-o", "/dev/null")
        self.assertTrue(os.path.exists("/dev/null") and not os.path.isfile("/dev/null"))

    def test_a_second_writer_changes_nothing(self):
        arguments = ["synthetic", "--seq", "8k", "--q-heads", 8, "--kv-heads", 4, "--dim", 64, "--layers", 4, "-q", "-o", self.path("d.h5")]
        first = subprocess.Popen([TOOL, *map(str, arguments)])
        while not (os.path.exists(self.path("d.h5.part")) and os.path.getsize(self.path("d.h5.part")) > 0):
            time.sleep(0.001)
        for extra in ([], ["--resume"]):
            self.assertIn("locked by another process", self.run_tool(*arguments, *extra, code=1))
        self.assertEqual(first.wait(), 0)
        self.run_tool("verify", self.path("d.h5"))

    def test_a_refused_resume_leaves_the_file_as_it_is(self):
        for content in (b"nonsense", b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 20):
            with open(self.path("d.h5.part"), "wb") as file:
                file.write(content)
            self.synthetic("d.h5", "--resume", code=1)
            with open(self.path("d.h5.part"), "rb") as file:
                self.assertEqual(file.read(), content)
        for unbegun in (b"", bytes(8192)):  # a writer died before anything was there
            with open(self.path("d.h5.part"), "wb") as file:
                file.write(unbegun)
            self.synthetic("d.h5", "--resume")
            self.run_tool("verify", self.path("d.h5"))
            os.remove(self.path("d.h5"))


class DyingWriters(Case):
    def big(self, name):
        return ["synthetic", "--seq", "4k", "--q-heads", 4, "--kv-heads", 2, "--dim", 64, "--layers", 6, "--out", self.path(name), "-q"]

    def reference(self):
        """The same dump, made in one go."""
        self.run_tool(*self.big("whole.h5"))
        return self.tensors("whole.h5")

    def tensors(self, name):
        with h5py.File(self.path(name), "r") as file:
            return [[int(data.attrs["xxh3_64"]) for data in (group["q"], group["k"], group["v"])] for group in file["layers"].values()]

    def begun(self, name):
        """True unless the writer died before it had made the file's structure."""
        path = pathlib.Path(self.path(name))
        return path.exists() and path.read_bytes()[:1] == b"\x89"

    def finish(self, name):
        self.run_tool(*self.big(name), "--resume")
        self.assertFalse(os.path.exists(self.path(name + ".part")))
        self.run_tool("verify", self.path(name))
        self.run_tool(*self.big(name), "--resume")  # nothing left to do
        return self.tensors(name)

    def test_file_size_limit(self):
        whole = self.reference()
        size = os.path.getsize(self.path("whole.h5"))
        for part in (0.1, 0.5, 0.999):
            limit = int(size * part)
            name = f"cut{part}.h5"
            error = self.run_tool(*self.big(name), code=1,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            self.assertIn("File too large", error)
            self.assertEqual([made for made in os.listdir(self.folder) if made.startswith("cut")], [])  # before hours of work

    def test_full_disk_then_resume(self):
        disk = self.path("disk")
        os.mkdir(disk)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk], capture_output=True).returncode != 0:
            self.skipTest("cannot mount a small file system")
        self.addCleanup(subprocess.run, ["umount", disk])
        whole = self.reference()
        error = self.run_tool(*self.big("disk/d.h5"), code=1)
        self.assertIn("No space left on device", error)
        self.assertEqual(os.listdir(disk), ["d.h5.part"])
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.assertEqual(self.finish("disk/d.h5"), whole)
        self.assertIn("cannot write", self.run_tool("export", self.path("disk/d.h5"), "-o", "/dev/full/x", code=1))

    def test_killed_then_resumed(self):
        whole = self.reference()
        finished = set()
        for delay in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
            name = f"killed{delay}.h5"
            process = subprocess.Popen([TOOL, *map(str, self.big(name))])
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                continue
            if os.path.exists(self.path(name)):  # killed on its way out: the name is given to whole dumps only
                self.run_tool("verify", self.path(name))
                self.assertEqual(self.tensors(name), whole)
                continue
            if self.begun(name + ".part"):
                with h5py.File(self.path(name + ".part"), "r") as file:  # readable as it stands
                    finished.add(len([g for g in file["layers"].values() if g.attrs.get("complete") == 1]))
            self.assertEqual(self.finish(name), whole)
        self.assertTrue(finished)

    def test_interrupted_then_resumed(self):
        whole = self.reference()
        process = subprocess.Popen([TOOL, *map(str, self.big("d.h5"))], stderr=subprocess.PIPE, text=True)
        while not os.path.exists(self.path("d.h5.part")):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        error = process.communicate()[1]
        if process.returncode == 0:
            self.skipTest("the writer was faster than the signal")
        self.assertEqual(process.returncode, 130)
        self.assertRegex(error, "^anchor-dump: .*interrupted")
        self.assertFalse(os.path.exists(self.path("d.h5")))
        self.assertEqual(self.finish("d.h5"), whole)

    def test_resume_of_something_else(self):
        self.run_tool(*self.big("d.h5"))
        os.rename(self.path("d.h5"), self.path("d.h5.part"))
        self.assertRegex(self.run_tool(*self.big("d.h5"), "--resume", "--seed", 2, code=1), 'made with seed "1", not "2"')
        self.assertRegex(self.run_tool(*self.big("d.h5"), "--resume", "--dtype", "f16", code=1), "made with config_json")
        with open(self.path("d.h5.part"), "w") as file:
            file.write("nonsense")
        self.assertIn("not an HDF5 file", self.run_tool(*self.big("d.h5"), "--resume", code=1))


if __name__ == "__main__":
    unittest.main()
