"""anchor-dump killed at every one of its writes: each finished layer is readable, and --resume completes the dump bit for bit."""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import h5py

BIN = os.environ["ANCHOR_BIN"]
TOOL = os.path.join(BIN, "anchor-dump")
SHIM = os.path.join(BIN, "..", "lib", "kill_at_write.so")
LAYERS = 3


class KilledAtEveryWrite(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="anchor_kill_")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_tool(self, *arguments, **environment):
        return subprocess.run([TOOL, *arguments], capture_output=True, text=True, cwd=self.folder, timeout=60, env={**os.environ, **environment})

    def begun(self, name):
        """True if the file is there and was made whole before the kill."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            return False
        with open(path, "rb") as file:
            return file.read(1) == b"\x89"

    def synthetic(self, name, *flags, **environment):
        return self.run_tool("synthetic", "--seq", "64", "--q-heads", "2", "--kv-heads", "1", "--dim", "16", "--layers", str(LAYERS), "-q",
                             "-o", name, *flags, **environment)

    def content(self, name, complete=True):
        """The raw bytes of the finished layers, by name."""
        found = {}
        with h5py.File(os.path.join(self.folder, name), "r") as file:
            self.assertEqual(bool(file.attrs["complete"]), complete)
            for layer, group in file["layers"].items():
                if group.attrs["complete"]:
                    found[layer] = [group[part][:].tobytes() for part in "qkv"] + [int(group[part].attrs["xxh3_64"]) for part in "qkv"]
        return found

    def check_kills(self, writes, prepare, arguments):
        """Kills the tool at each of its writes; returns the numbers of finished layers that were seen."""
        whole, seen = self.whole, set()
        for at in range(writes):
            for left in os.listdir(self.folder):
                if left.startswith("d.h5"):
                    os.remove(os.path.join(self.folder, left))
            prepare()
            done = self.synthetic("d.h5", *arguments, LD_PRELOAD=SHIM, ASAN_OPTIONS="verify_asan_link_order=0", ANCHOR_KILL_AT=str(at))
            self.assertEqual(done.returncode, -signal.SIGKILL, f"write {at}: {done.stderr}")
            part = os.path.join(self.folder, "d.h5.part")
            if self.begun("d.h5.part"):
                with h5py.File(part, "r") as file:
                    flag = bool(file.attrs["complete"])
                layers = self.content("d.h5.part", flag)
                for layer, held in layers.items():
                    self.assertEqual(held, whole[layer], f"write {at}, layer {layer}")
                seen.add(len(layers))
                exported = self.run_tool("export", "d.h5.part", "--allow-incomplete", "-o", "d.safetensors")
                self.assertEqual(exported.returncode, 0 if layers else 1, f"write {at}: {exported.stderr}")
            resumed = self.synthetic("d.h5", "--resume")
            self.assertEqual((resumed.returncode, resumed.stderr), (0, ""), f"write {at}")
            self.assertEqual(self.content("d.h5"), whole, f"write {at}")
            self.assertFalse(os.path.exists(part))
        return seen

    def count(self, name, *arguments):
        done = self.synthetic(name, *arguments, LD_PRELOAD=SHIM, ASAN_OPTIONS="verify_asan_link_order=0")
        self.assertEqual(done.returncode, 0, done.stderr)
        return int(done.stderr.split("writes: ")[1])

    def test_every_write(self):
        self.assertTrue(os.path.exists(SHIM), SHIM)
        writes = self.count("whole.h5")
        self.whole = self.content("whole.h5")
        self.assertGreater(writes, 8 * LAYERS)  # three tensors, three checksums, one flag, one sync a layer
        self.assertEqual(self.check_kills(writes, lambda: None, []), set(range(LAYERS + 1)))

    def test_every_write_of_a_resumption(self):
        self.count("whole.h5")
        self.whole = self.content("whole.h5")
        kept = os.path.join(self.folder, "kept.part")
        at = 0
        while True:  # the first kill that leaves a finished layer
            self.synthetic("d.h5", LD_PRELOAD=SHIM, ASAN_OPTIONS="verify_asan_link_order=0", ANCHOR_KILL_AT=str(at))
            part = os.path.join(self.folder, "d.h5.part")
            if self.begun("d.h5.part") and self.content("d.h5.part", False):
                break
            at += 1
        shutil.move(part, kept)
        prepare = lambda: shutil.copy(kept, part)
        prepare()
        writes = self.count("d.h5", "--resume")
        self.assertEqual(self.check_kills(writes, prepare, ["--resume"]), set(range(1, LAYERS + 1)))


if __name__ == "__main__":
    unittest.main()
