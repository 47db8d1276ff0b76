"""Random command lines over all tools, made from their own option tables: whatever is asked, a documented exit code, at most four lines
on stderr, no signal, no file left half written. ANCHOR_RANDOM_LINES: how many (300); ANCHOR_RANDOM_SEED: which (1)."""
import os
import random
import re
import subprocess
import unittest
from pathlib import Path

from tools import ToolTest, run, tool, write_dump, heads

COUNT, SEED = int(os.environ.get("ANCHOR_RANDOM_LINES", 300)), int(os.environ.get("ANCHOR_RANDOM_SEED", 1))
CODES = {0, 1, 2, 3, 4}
TOOLS = ("anchor-dump", "anchor-recall", "anchor-sweep", "anchor-bench", "anchor-report")
SUBCOMMANDS = {"anchor-dump": ("model", "synthetic", "inspect", "verify", "import", "export"), "anchor-sweep": ("", "fit", "calibrate", "cluster"),
               "anchor-bench": ("", "compare"), "anchor-recall": ("",), "anchor-report": ("",)}
NUMBERS = ("0", "1", "2", "3", "16", "-1", "0.5", "0.95", "1e-9", "1e308", "-inf", "inf", "nan", "abc", "", "1k", "1e308k", "9" * 30, "0x10", "1,2", "--", "²")
LISTS = ("0", "1", "0,1", "0-1", "1-2*2", "0:1:0.5", "2-1", "0-", ",", "0,,1", "1-1.8e308*2", "0-9e99", "7", "-3", "a", "64", "32,64", "1-64*2", "0.1,0.9")
WORDS = ("mass_recall=0.9", "out_rel_l2=0.1", "mass_recall=2", "theta=3", "anchor.theta=inf", "block=16", "block=0", "x=", "=", "anchor", "all", "window=0,16@0.1",
         "anchor,topk", "dense", "streaming", "sale", "nothing", "cpu", "reference", "auto", "cuda:99", "synthetic:local", "mixed", "bf16", "f32", "full")
# What would take long, or write where nobody looks.
FIXED = {"anchor-bench": ("--time-limit", "0.01", "--device", "cpu"), "anchor-recall": (), "anchor-sweep": (), "anchor-report": (), "anchor-dump": ()}


def options(text):
    """(flag, placeholder or None, its choices) of a complete help"""
    found = []
    for flags, value, rest in re.findall(r"^\s+((?:-\w,)?--[a-z-]+)(?: ([A-Z][\w.,=@]*))?(?:\s(.*))?$", text, re.M):
        choices = re.findall(r"\b[a-z0-9-]+\b(?=,| or |\))", rest) if value in ("WORD", "WHICH", "SCOPE", "FORMAT", "NAME") else []
        found.append((flags.split(",")[-1], value or None, choices))
    return found


class RandomLines(ToolTest):
    def setUp(self):
        super().setUp()
        self.dump("d.h5", layers=2, q_heads=4, kv_heads=2, length=96)
        write_dump(self.path("e.h5"), {0: (*heads(3, 2, 1, 64, 64, 16), {})})
        run("anchor-sweep", self.path("d.h5"), "--block", 16, "--step", 2, "--curves", "-o", self.path("r.jsonl"), "--thresholds-out", self.path("T.json"), "-q")
        Path(self.path("c.toml")).write_text("step = 2\n")
        Path(self.path("t.txt")).write_text("a text of some words\n")
        os.mkdir(self.path("folder"))
        self.inputs = ("d.h5", "e.h5", "r.jsonl", "T.json", "c.toml", "t.txt", "folder", "missing", "d.h5,e.h5", "")
        self.outputs = ("o.csv", "o.jsonl", "o.json", "o.md", "o.html", "o.svg", "o.h5", "o.safetensors", "d.h5", "r.jsonl", "folder", "no/where.csv", "o.txt")  # no device: a wrong writer would replace it
        self.tables = {(name, sub): options(run(name, *([sub] if sub else []), "--help").stdout) for name in TOOLS for sub in SUBCOMMANDS[name]}

    def value(self, flag, placeholder, choices):
        if flag in ("--out", "--html", "--svg", "--thresholds-out", "--pareto", "--png", "--pdf"):
            return self.random.choice(self.outputs)
        if placeholder in ("FILE", "DUMP", "DUMPS") or "." in placeholder or placeholder.startswith("DUMP"):
            return self.random.choice(self.inputs)
        pool = [NUMBERS, LISTS, WORDS] + [choices] * 3 if choices else [NUMBERS, LISTS, WORDS, LISTS if placeholder == "LIST" else NUMBERS]
        return self.random.choice(self.random.choice([one for one in pool if one]))

    def line(self):
        name = self.random.choice(TOOLS)
        sub = self.random.choice(SUBCOMMANDS[name])
        words = [name] + ([sub] if sub else [])
        for _ in range(self.random.choice((0, 1, 1, 1, 2))):
            words.append(self.random.choice(self.inputs[:4] if self.random.random() < 0.8 else self.inputs))
        if name == "anchor-dump" and sub == "synthetic":
            words += ["--seq", "64", "--q-heads", "2", "--kv-heads", "1", "--dim", "16"]
        if name == "anchor-bench" and sub == "":
            words += ["--seq", "64", "--q-heads", "2", "--kv-heads", "1", "--dim", "16"] if self.random.random() < 0.7 else ["--dump", "d.h5"]
        if sub != "compare" and (name, sub) in self.tables:
            words += FIXED[name]
        for _ in range(self.random.choice((0, 1, 2, 3, 4, 6))):
            flag, placeholder, choices = self.random.choice(self.tables[name, sub])
            if flag in ("--time-limit", "--seq", "--tokens") and placeholder:  # a long run is no fault
                continue
            words.append(flag)
            if placeholder and self.random.random() < 0.97:
                words.append(self.value(flag, placeholder, choices))
            elif self.random.random() < 0.03:
                words.append(self.random.choice(NUMBERS))
        if self.random.random() < 0.05:
            at = self.random.randrange(1, len(words) + 1)
            words[at:at] = [self.random.choice(("--thta", "-x", "--", "-", "--out=", "--method=", "\x1b[31m", "a" * 5000))]
        return words

    def test_random_lines(self):
        seen = set()
        for number in range(COUNT):
            self.random = random.Random(SEED * 1_000_003 + number)
            words = self.line()
            before = {name: Path(self.path(name)).read_bytes() for name in ("d.h5", "e.h5", "T.json", "c.toml")}
            with self.subTest(number=number, line=" ".join(words)[:300]):
                try:
                    done = subprocess.run([tool(words[0]), *words[1:]], capture_output=True, stdin=subprocess.DEVNULL, cwd=self.folder, timeout=120)
                except subprocess.TimeoutExpired:
                    self.fail("does not end")
                seen.add(done.returncode)
                said = done.stderr.decode("utf-8", "replace")
                self.assertIn(done.returncode, CODES, said)
                if "--heatmap" not in words and "-v" not in words and "--verbose" not in words:
                    self.assertLessEqual(len(said.splitlines()), 4, said)
                if done.returncode in (1, 2):
                    self.assertNotEqual(said, "")
                self.assertNotIn("json.exception", said)
                self.assertNotIn("terminate called", said)
                self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".part")], [])
                for name, bytes_ in before.items():
                    self.assertEqual(Path(self.path(name)).read_bytes(), bytes_, name)
            for name in os.listdir(self.folder):
                if name.startswith("o."):
                    os.remove(self.path(name))
        if COUNT >= 300:
            self.assertLessEqual({0, 1, 2}, seen)


if __name__ == "__main__":
    unittest.main()
