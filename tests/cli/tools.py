"""What the tests of the tools share: running them, and dumps written by plain h5py as the format's text says."""
import json
import os
import pty
import select
import subprocess
import tempfile
import unittest

import h5py
import numpy as np


def tool(name):
    return os.path.join(os.environ["ANCHOR_BIN"], name)


def run(name, *arguments, **options):
    """Runs a tool with piped stdin, stdout and stderr."""
    return subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def run_in_terminal(name, *arguments, columns=80, stream="stdout", **environment):
    """Runs a tool with one stream on a terminal; returns (exit code, what it printed there)."""
    control, terminal = pty.openpty()
    import fcntl, struct, termios
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM", "TERM")}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: terminal}
    process = subprocess.Popen([tool(name), *map(str, arguments)], **streams, env={**env, **environment})
    os.close(terminal)
    printed = b""
    while True:
        try:
            select.select([control], [], [])
            part = os.read(control, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not part:
            break
        printed += part
    os.close(control)
    return process.wait(), printed.decode().replace("\r\n", "\n")


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def write_dump(path, layers, complete=1, **root):
    """A dump with the required attributes alone. layers: {number: (q, k, v, {attributes})}, float32."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "anchor-qkv", "format_version": "1.0", "model": "test", "complete": np.uint8(complete),
                           "seq_len": np.int64(next(iter(layers.values()))[1].shape[1]), "created_utc": "2026-01-01T00:00:00Z",
                           "tool": "test", "tool_version": "1", **root})
        for number, (q, k, v, attributes) in layers.items():
            group = file.create_group(f"layers/{number:03}")
            group.attrs.update({"layer": np.int64(number), "softmax_scale": np.float64(q.shape[2] ** -0.5), "causal": np.uint8(1),
                                "complete": np.uint8(1), **attributes})
            group["q"], group["k"], group["v"] = q, k, v


def heads(seed, q_heads, kv_heads, q_len, kv_len, dim, sharpness=1.5):
    """Random q, k, v with a sink and a few strong columns, so that recall is neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((q_heads, q_len, dim), np.float32) * np.float32(sharpness)
    k = rng.standard_normal((kv_heads, kv_len, dim), np.float32)
    v = rng.standard_normal((kv_heads, kv_len, dim), np.float32)
    for column in (0, kv_len // 5, kv_len // 3, kv_len // 2):
        k[:, column] += np.float32(0.9) * q.mean(axis=(0, 1)) + np.float32(0.5)
    q += np.float32(0.7)
    return q, k, v


class ToolTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def dump(self, name="d.h5", layers=2, q_heads=4, kv_heads=2, length=256, dim=32, seed=0):
        path = self.path(name)
        write_dump(path, {n: (*heads(seed + n, q_heads, kv_heads, length, length, dim), {}) for n in range(layers)})
        return path

    def check_error(self, result, code, *words):
        """One line on stderr that holds the words, nothing on stdout, the exit code."""
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        for word in words:
            self.assertIn(str(word), result.stderr)
