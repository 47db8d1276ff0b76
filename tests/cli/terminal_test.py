"""What people see: tables that fit, a dozen rows of many, heatmaps and bars, progress, names that try to harm."""
import re
import unittest
from pathlib import Path

from tools import ToolTest, heads, run, run_in_terminal, write_dump

SMALL = ("--block", 16, "--step", 2)


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", text)


class Tables(ToolTest):
    def test_many_rows_become_the_dozen_that_matters(self):
        path = self.dump(q_heads=32, kv_heads=8, layers=3, length=64)
        code, text = run_in_terminal("anchor-recall", path, *SMALL)
        self.assertEqual(code, 0)
        self.assertIn("The 12 of 96 rows that keep least", text)
        table = [float(line.split("|")[4]) for line in text.splitlines() if re.match(r"\|\s+\d+ \|", line)]
        self.assertEqual(len(table), 12)
        self.assertEqual(table, sorted(table))
        every = [float(line.split("|")[4]) for line in run("anchor-recall", path, *SMALL, "--format", "md").stdout.splitlines()
                 if re.match(r"\|\s+\d+ \|", line)]
        self.assertEqual(len(every), 96)
        self.assertEqual(table, sorted(every)[:12])
        code, text = run_in_terminal("anchor-recall", path, *SMALL, "--format", "md")
        self.assertEqual(len(re.findall(r"^\|\s+\d+ \|", text, re.M)), 96)
        code, text = run_in_terminal("anchor-sweep", path, *SMALL)
        self.assertIn("The 12 of 96 rows that need most", text)

    def test_files_have_all_rows(self):
        path = self.dump(q_heads=32, kv_heads=8, layers=2, length=64)
        run_in_terminal("anchor-recall", path, *SMALL, "-o", self.path("r.jsonl"), "-o", self.path("r.md"))
        self.assertEqual(len(Path(self.path("r.jsonl")).read_text().splitlines()), 64)
        self.assertEqual(len(Path(self.path("r.md")).read_text().splitlines()), 2 + 64)

    def test_everything_fits_the_window(self):
        path = self.dump(q_heads=32, kv_heads=8, layers=3, length=64)
        for columns in (60, 80, 132):
            for command in (("anchor-recall", path, *SMALL, "--method", "anchor,streaming"), ("anchor-sweep", path, *SMALL),
                            ("anchor-sweep", path, *SMALL, "--grid", "0:8:2"), ("anchor-recall", "--help"), ("anchor-bench", "-h")):
                code, text = run_in_terminal(*command, columns=columns, TERM="xterm-256color", LC_ALL="C.UTF-8")
                self.assertIn(code, (0, 4))
                if "-h" in command or "--help" in command:
                    text = text.split("\nExamples:")[0].partition("\n\n")[2]  # command lines are whole
                for line in plain(text).splitlines():
                    if not line.endswith(":"):  # sentences wrap as sentences do
                        self.assertLessEqual(len(line), columns, (command, line))

    def test_bars_by_layer(self):
        path = self.dump(layers=3, length=128)
        _, text = run_in_terminal("anchor-recall", path, *SMALL, LC_ALL="C.UTF-8")
        self.assertRegex(text, r"mean by layer, 0 to 2:\n  density +\d\.\d{4} to \d\.\d{4}  [▁-█]{3}\n  mass_recall ")
        _, text = run_in_terminal("anchor-recall", path, *SMALL, LC_ALL="C")
        self.assertRegex(text, r"  density +\d\.\d{4} to \d\.\d{4}  \d{3}\n")
        _, text = run_in_terminal("anchor-recall", self.dump("one.h5", layers=1, length=128), *SMALL)
        self.assertNotIn("by layer", text)

    def test_names_cannot_write_to_the_terminal(self):
        data = heads(0, 2, 1, 64, 64, 16)
        for model in ("evil \x1b[2J\x07 name\nsecond line", "long " * 2000, "ü" * 200):
            write_dump(self.path("h.h5"), {0: (*data, {})}, model=model)
            for command in (("anchor-recall", self.path("h.h5"), *SMALL), ("anchor-sweep", self.path("h.h5"), *SMALL),
                            ("anchor-dump", "inspect", self.path("h.h5"))):
                code, text = run_in_terminal(*command, TERM="dumb")
                self.assertIn(code, (0, 4))
                self.assertNotIn("\x1b", text)
                self.assertNotIn("\x07", text)
                self.assertNotIn("\nsecond", text)
                self.assertLessEqual(max(map(len, text.splitlines())), 80 if command[0] != "anchor-dump" else 82)


class Progress(ToolTest):
    def test_shows_rate_and_time_left_on_a_terminal_alone(self):
        path = self.dump(q_heads=16, kv_heads=8, layers=6, length=768, dim=64)
        command = ("anchor-recall", path, "--threads", 1, "--method", "anchor,xattention,flexprefill,sale")
        for columns in (80, 40):
            code, text = run_in_terminal(*command, columns=columns, stream="stderr")
            self.assertEqual(code, 0)
            drawn = [part for part in text.split("\r\x1b[K") if part]
            if columns == 80:
                self.assertTrue(any(re.search(r"\d+/48 \(\d+ %, [\d.e+]+/s, \d+ s left\)", part) for part in drawn), drawn)
            self.assertLess(max(len(part) for part in drawn if "KV group" in part), columns)
        self.assertNotIn("\r", run(*command).stderr)
        self.assertEqual(run_in_terminal(*command, "-q", stream="stderr")[1], "")


if __name__ == "__main__":
    unittest.main()
