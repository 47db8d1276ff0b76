"""data/anchor_h5.py: a writer that is killed at any write leaves a .part that opens, holds every finished layer bit for bit,
and is continued to the same dump."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

from anchor_h5 import Dump, Writer

# Counts what changes the file, and dies before number KILL_AT.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static void hit(void) {
  static long count;
  const char* at = getenv("KILL_AT");
  if (at && ++count == atol(at)) kill(getpid(), SIGKILL);
}
#define WRITES(result, name, parameters, arguments) \
  result name parameters { \
    static result (*next) parameters; \
    if (!next) next = dlsym(RTLD_NEXT, #name); \
    hit(); \
    return next arguments; \
  }
WRITES(ssize_t, pwrite64, (int f, const void* b, size_t n, off_t o), (f, b, n, o))
WRITES(ssize_t, pwrite, (int f, const void* b, size_t n, off_t o), (f, b, n, o))
WRITES(int, ftruncate64, (int f, off_t n), (f, n))
WRITES(int, ftruncate, (int f, off_t n), (f, n))
WRITES(int, rename, (const char* a, const char* b), (a, b))
"""


def layers():
    rng = np.random.default_rng(0)
    for number in range(3):
        q, k, v = (rng.standard_normal((heads, 40, 16), np.float32) for heads in (4, 2, 2))
        yield number, q, k, v, {"sink_logits": np.arange(4.0) + number}


def write(path, resume=False):
    with Writer(path, model="m", seq_len=40, input_ids=range(40), format_version="1.1", resume=resume) as writer:
        for number, q, k, v, arrays in layers():
            if f"{number:03}" not in writer.file["layers"]:
                shapes = {"q": q.shape, "k": k.shape, "v": v.shape, **{name: a.shape for name, a in arrays.items()}}
                writer.reserve(number, shapes, 0.25, sliding_window=np.int64(0))
        for number, q, k, v, arrays in layers():
            if number not in writer.finished:
                writer.layer(number, q, k, v, 0.25, arrays=arrays, sliding_window=np.int64(number))


def contents(path):
    with h5py.File(path) as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if isinstance(item, h5py.Dataset) else
                                                        {f"{name}@{key}": str(value) for key, value in item.attrs.items()}))
        return found


class WriterTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_h5_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "d.h5"
        self.part = self.folder / "d.h5.part"

    def test_survives_a_kill_at_every_write(self):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            self.skipTest("no C compiler")
        (self.folder / "shim.c").write_text(SHIM)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", self.folder / "shim.so", self.folder / "shim.c", "-ldl"], check=True)
        done = subprocess.run([sys.executable, __file__, "--kills", self.out], capture_output=True, text=True,
                              env={**os.environ, "LD_PRELOAD": str(self.folder / "shim.so")})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        kills, kept = done.stdout.split(maxsplit=1)
        self.assertGreater(int(kills), 20)
        self.assertEqual(kept.strip(), "[0, 1, 2, 3]")  # kills after every number of finished layers

    def test_layers_need_no_reservation(self):
        with Writer(self.out, model="m", seq_len=40) as writer:
            for number, q, k, v, _ in layers():
                writer.layer(number, q, k, v, softmax_scale=0.5)
        with Dump(self.out) as dump:
            self.assertEqual(dump.layers, [0, 1, 2])
            self.assertEqual(dump.layer(1).attrs["softmax_scale"], 0.5)
        self.assertFalse(self.part.exists())

    def test_another_shape_than_reserved(self):
        number, q, k, v, _ = next(layers())
        with self.assertRaisesRegex(ValueError, "shapes that were reserved"):
            with Writer(self.out, model="m", seq_len=40) as writer:
                writer.reserve(0, {"q": q.shape, "k": k.shape, "v": v.shape}, 0.5)
                writer.layer(0, q[:, :9], k, v, 0.5)
        self.assertFalse(self.part.exists())

    def test_two_writers(self):
        with Writer(self.out, model="m", seq_len=40):
            before = self.part.read_bytes()
            with self.assertRaisesRegex(OSError, "another program"):
                Writer(self.out, model="m", seq_len=40)
            self.assertEqual(self.part.read_bytes(), before)

    def test_overflow_of_f16(self):
        number, q, k, v, _ = next(layers())
        with self.assertRaisesRegex(ValueError, r"layer 0, k\[0, 0, 0\] is 100000, which overflows f16; take bf16 or f32"):
            with Writer(self.out, model="m", seq_len=40, dtype="f16") as writer:
                writer.layer(0, q, np.full_like(k, 1e5), v, 0.5)


def kill_at_every_write(out):
    """Runs under the shim. Prints how many kills there were, and how many finished layers they left."""
    part = pathlib.Path(f"{out}.part")
    write(out)
    whole, kept, kill = contents(out), set(), 0
    while True:
        pathlib.Path(out).unlink()
        child = os.fork()
        if child == 0:
            os.environ["KILL_AT"] = str(kill + 1)
            write(out)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
        kill += 1
        finished = finished_layers(part, whole)
        begun = -1 if part.stat().st_size == 0 else part.read_bytes().count(whole["layers/000/q"][:64])
        assert begun < 1 or finished is not None, f"kill {kill}: holds data, but does not open"
        kept.add(len(finished or []))
        write(out, resume=True)
        assert contents(out) == whole, f"kill {kill}: continued to another dump"
        assert not part.exists()
    print(kill, sorted(kept))


def finished_layers(part, whole):
    """Those that the file calls finished, compared bit for bit; None if it was killed while it reserved them."""
    try:
        with h5py.File(part) as file:
            layers = file["layers"]
            finished = [name for name in layers if layers[name].attrs["complete"]]
            for name in finished:
                for part in layers[name]:
                    assert layers[name][part][()].tobytes() == whole[f"layers/{name}/{part}"], (name, part)
            return finished
    except (OSError, KeyError, RuntimeError):
        return None


if __name__ == "__main__":
    if sys.argv[1:2] == ["--kills"]:
        kill_at_every_write(sys.argv[2])
    else:
        unittest.main()
