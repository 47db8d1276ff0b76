"""What tools write: locked, complete or not at all, through links and devices, never over an input; stdout that fails; signals."""
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import threading
import time
import unittest
from pathlib import Path

from tools import ToolTest, rows, run, tool

SMALL = ("--block", 16, "--step", 2, "--device", "cpu")
BENCH = ("--seq", 128, "--q-heads", 1, "--kv-heads", 1, "--dim", 32, "--time-limit", 0.05, "--baseline", "none", "--device", "cpu", "-q")
# Options whose value is a file that is read. One that is written must be known to apps/cli/file_roles.cpp.
READ = {"--config", "--thresholds", "--tokenizer", "--model", "--text", "--dump", "--check", "--clusters", "--fit"}
WRITTEN = {"--out", "--html", "--svg", "--png", "--pdf", "--thresholds-out", "--pareto"}


def commands():
    """(tool, subcommand or None, its complete help)"""
    for name in ("anchor-dump", "anchor-recall", "anchor-sweep", "anchor-bench", "anchor-report"):
        text = run(name, "--help").stdout
        yield name, None, text
        part = re.search(r"^Commands:?\n((?:  .*\n)+)", text, re.M)
        for sub in re.findall(r"^  ([a-z]+)\s", part[1], re.M) if part else ():
            yield name, sub, run(name, sub, "--help").stdout


class Case(ToolTest):
    def setUp(self):
        super().setUp()
        self.source = self.dump(layers=1, q_heads=2, kv_heads=1, length=96)

    def writers(self, out):
        """One command line for each kind of output, which it writes to `out`."""
        if not os.path.exists(self.path("rows.jsonl")):
            run("anchor-recall", self.source, *SMALL, "-o", self.path("rows.jsonl"))
        return {"csv": ("anchor-recall", self.source, *SMALL, "-o", out), "md": ("anchor-recall", self.source, *SMALL, "-o", out),
                "json": ("anchor-recall", self.source, *SMALL, "-o", out), "jsonl": ("anchor-recall", self.source, *SMALL, "-o", out),
                "svg": ("anchor-recall", self.source, *SMALL, "--svg", out), "html": ("anchor-report", self.path("rows.jsonl"), "--html", out),
                "T.json": ("anchor-sweep", self.source, *SMALL, "--thresholds-out", out),
                "clusters.json": ("anchor-sweep", "cluster", self.source, "--out", out)}

    def no_parts(self):
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".part")], [])


class SameFile(Case):
    def test_an_output_that_is_an_input_is_refused_by_every_tool_and_option(self):
        self.writers("")
        rows_file, thresholds = self.path("rows.jsonl"), self.path("T.json")
        run("anchor-sweep", self.source, *SMALL, "--thresholds-out", thresholds)
        Path(self.path("text")).write_text("text")
        Path(self.path("c.toml")).write_text("step = 2\n")
        os.symlink(self.source, self.path("link.csv"))
        os.link(self.source, self.path("hard.html"))
        d = self.source
        for line, victim in ((("anchor-recall", d, "--svg", d), d), (("anchor-recall", d, "-o", self.path("link.csv")), d),
                             (("anchor-recall", d, "--html", self.path("hard.html")), d), (("anchor-recall", d, "--pareto", d), d),
                             (("anchor-recall", d, "--thresholds", thresholds, "-o", thresholds), thresholds),
                             (("anchor-recall", d, "--config", self.path("c.toml"), "--svg", self.path("c.toml")), self.path("c.toml")),
                             (("anchor-sweep", d, "--thresholds-out", d), d), (("anchor-sweep", "cluster", d, "-o", d), d),
                             (("anchor-sweep", "fit", f"{rows_file},{d}", "--thresholds-out", d), d),
                             (("anchor-sweep", "calibrate", d, "--error", 1, "--thresholds-out", d), d),
                             (("anchor-recall", d, "--method", "shareprefill", "--set", f"clusters={thresholds}", "--svg", thresholds), thresholds),
                             (("anchor-bench", "--dump", d, "--thresholds", thresholds, "-o", thresholds), thresholds),
                             (("anchor-report", rows_file, d, "--html", rows_file), rows_file),
                             (("anchor-report", rows_file, "--svg", rows_file, "--figure", "curves"), rows_file),
                             (("anchor-dump", "export", d, "-o", d), d), (("anchor-dump", "import", d, "-o", d), d),
                             (("anchor-dump", "model", "--model", d, "--text", self.path("text"), "-o", self.path("text")), self.path("text"))):
            with self.subTest(line=line[0:2]):
                before = Path(victim).read_bytes()
                self.check_error(run(*line), 2, "must be another file")
                self.assertEqual(Path(victim).read_bytes(), before)
        self.no_parts()

    def test_two_outputs_that_are_one_file_are_refused(self):
        os.symlink("a.jsonl", self.path("b.jsonl"))
        Path(self.path("there.html")).write_text("old")
        os.link(self.path("there.html"), self.path("same.csv"))
        for first, second in ((("-o", "a.csv"), ("-o", "a.csv")), (("-o", "a.jsonl"), ("-o", "b.jsonl")), (("-o", "a.csv"), ("--svg", "./a.csv")),
                              (("--html", "there.html"), ("-o", "same.csv"))):
            with self.subTest(first=first, second=second):
                self.check_error(run("anchor-recall", self.source, *first, *second, cwd=self.folder), 2, "twice")
        self.assertEqual(Path(self.path("there.html")).read_text(), "old")

    def test_every_option_that_takes_a_file_is_known_as_read_or_written(self):
        seen = set()
        for name, sub, text in commands():
            for flags in re.findall(r"^\s+((?:-\w,)?--[a-z-]+) (?:FILE|DUMP\S*|[A-Z]\.\w+)(?:\s|$)", text, re.M):
                option = flags.split(",")[-1]
                seen.add(option)
                self.assertIn(option, READ | WRITTEN, f"{name} {sub}: is {option} an output? then apps/cli/file_roles.cpp must name it")
        self.assertLessEqual({"--out", "--html", "--svg", "--thresholds-out"}, seen)


class Places(Case):
    def test_links_are_written_through_and_devices_stay_devices(self):
        os.mkdir(self.path("other"))
        for suffix in self.writers(""):
            with self.subTest(suffix=suffix):
                link, target = self.path("link." + suffix), self.path("other/" + suffix)
                os.symlink(target, link)
                done = run(*self.writers(link)[suffix])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertTrue(os.path.islink(link))
                self.assertGreater(os.path.getsize(target), 0)
                self.assertEqual(os.listdir(self.path("other")).count(suffix + ".part"), 0)
                if os.geteuid() != 0:
                    continue
                node = self.path("null." + suffix)  # of our own: a wrong writer would replace the machine's
                os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
                done = run(*self.writers(node)[suffix])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertTrue(stat.S_ISCHR(os.lstat(node).st_mode))
        self.no_parts()

    def test_a_pipe_gets_the_whole_output(self):
        pipe = self.path("pipe.csv")
        os.mkfifo(pipe)
        got = []
        reader = threading.Thread(target=lambda: got.append(Path(pipe).read_text()))
        reader.start()
        done = run("anchor-recall", self.source, *SMALL, "-o", pipe)
        reader.join(60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(got[0].splitlines()), 3)
        self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))

    def test_stdout_by_name_is_stdout(self):
        with open(self.path("all"), "w") as out:
            code = subprocess.run([tool("anchor-recall"), self.source, *map(str, SMALL), "-q", "--format", "csv", "--svg", "/dev/stdout"], stdout=out).returncode
        self.assertEqual(code, 0)
        text = Path(self.path("all")).read_text()
        self.assertTrue(text.startswith("dump.layer,"))
        self.assertTrue(text.endswith("</svg>\n"))

    def test_a_folder_is_named(self):
        for suffix, line in self.writers(self.folder).items():
            if suffix in ("svg", "T.json", "clusters.json"):
                self.check_error(run(*line), 1, "folder")


class SecondWriter(Case):
    def test_a_second_writer_changes_nothing(self):
        for suffix in self.writers(""):
            with self.subTest(suffix=suffix):
                out = self.path("out." + suffix)
                Path(out).write_text("old")
                held = out if suffix == "jsonl" else out + ".part"
                Path(held).write_text("of the first")
                with open(held) as first:
                    fcntl.flock(first, fcntl.LOCK_EX)
                    done = run(*self.writers(out)[suffix])
                self.check_error(done, 1, "locked by another process")
                self.assertEqual(Path(held).read_text(), "of the first")
                self.assertEqual(Path(out).read_text(), "of the first" if suffix == "jsonl" else "old")

    def test_two_resuming_runs_never_join_their_lines(self):
        source = self.dump("long.h5", layers=3, length=512)
        out = self.path("r.jsonl")
        line = [tool("anchor-recall"), source, *map(str, SMALL), "--out", out, "--resume", "-q"]
        both = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        codes = sorted(process.wait() for process in both)
        for process in both:
            process.stderr.close()
        self.assertIn(codes, ([0, 0], [0, 1]))
        found = rows(Path(out).read_text())
        self.assertEqual(len(found), 12)
        self.assertEqual(len({row["unit"] for row in found}), 12)


class StandardOutput(Case):
    def full(self, *line):
        with open("/dev/full", "w") as out:
            return subprocess.run([tool(line[0]), *map(str, line[1:])], stdout=out, stderr=subprocess.PIPE, text=True, timeout=120)

    def closed(self, *line, what=">&-"):
        words = " ".join([tool(line[0]), *map(str, line[1:]), what])
        return subprocess.run(["bash", "-c", words], stderr=subprocess.PIPE, text=True, timeout=120, cwd=self.folder)

    LINES = [("anchor-recall", "--help"), ("anchor-sweep", "-h"), ("anchor-bench", "--version"), ("anchor-dump", "--help"),
             ("anchor-report", "--help"), ("anchor-recall", "--list-methods"), ("anchor-recall", "--print-config"),
             ("anchor-bench", *BENCH)]

    def test_a_full_disk_and_a_closed_stdout_are_errors_of_one_line(self):
        lines = self.LINES + [("anchor-recall", self.source, *SMALL, "--format", f) for f in ("jsonl", "csv", "md", "json")]
        lines += [("anchor-sweep", self.source, *SMALL), ("anchor-dump", "inspect", self.source), ("anchor-dump", "verify", self.source)]
        for line in lines:
            for done in (self.full(*line), self.closed(*line)):
                with self.subTest(line=line):
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    self.assertIn("standard output", done.stderr.replace("cannot write to file", "standard output"))
        self.no_parts()

    def test_a_closed_stdout_does_not_land_in_the_results(self):
        done = self.closed("anchor-recall", self.source, *SMALL, "-o", "r.csv", "--format", "md")
        self.assertEqual(done.returncode, 1)
        done = self.closed("anchor-recall", self.source, *SMALL, "-o", "r.csv", what=">/dev/null 2>&- <&-")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(all(line.count(",") > 5 for line in Path(self.path("r.csv")).read_text().splitlines()))

    def test_a_full_stderr_is_no_crash(self):
        with open("/dev/full", "w") as full:
            for line in (("anchor-recall", "nothing.h5"), ("anchor-recall", self.source, *SMALL), ("anchor-recall", "--nonsense")):
                code = subprocess.run([tool(line[0]), *map(str, line[1:])], stdout=subprocess.DEVNULL, stderr=full).returncode
                self.assertIn(code, (0, 1, 2))

    def test_a_reader_that_goes_away_ends_the_run_without_a_word(self):
        source = self.dump("many.h5", layers=4, q_heads=8, kv_heads=2, length=64)
        words = f"{tool('anchor-recall')} {source} --block 16 --step 2 --method anchor,topk,streaming -o {self.path('r.csv')} | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
        self.assertIn(done.stdout.strip(), ("0", "141"))
        self.assertEqual(done.stderr, "")
        self.no_parts()


class Signals(Case):
    def test_sigterm_and_sighup_end_as_an_interrupt_does(self):
        source = self.dump("long.h5", layers=12, q_heads=8, kv_heads=4, length=512)
        for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)):
            with self.subTest(signal=number):
                out = self.path(f"{code}.jsonl")
                line = [tool("anchor-recall"), source, "--method", "topk", "--device", "cpu", "--threads", "1", "-o", out,
                        "-o", self.path("r.csv"), "--svg", self.path("r.svg")]
                process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                deadline = time.time() + 120
                while not (os.path.exists(out) and os.path.getsize(out)) and process.poll() is None and time.time() < deadline:
                    time.sleep(0.02)
                process.send_signal(number)
                _, said = process.communicate(timeout=120)
                self.assertEqual(process.returncode, code, said)
                self.assertIn("interrupted", said)
                self.assertLessEqual(len(said.splitlines()), 4)
                self.assertGreaterEqual(len(rows(Path(out).read_text())), 1)
                self.assertFalse(os.path.exists(self.path("r.csv")))
        self.no_parts()


class Resumed(Case):
    def test_what_is_not_ours_is_refused_and_left(self):
        out = self.path("r.jsonl")
        for text in ("precious", "precious\n", '{"a":1}', "[1,2,3]", "{\"schema\":\"anchor-result/2\"", "[" * 200000):
            Path(out).write_text(text)
            self.check_error(run("anchor-recall", self.source, *SMALL, "--out", out, "--resume"), 1, "line 1 is not a result row")
            self.assertEqual(Path(out).read_text(), text)

    def test_a_torn_tail_is_dropped_where_it_begins_like_a_row(self):
        out = self.path("r.jsonl")
        for text in ('{"schema":"anchor-result/1","uni', '{"sch', "{"):
            Path(out).write_text(text)
            done = run("anchor-recall", self.source, *SMALL, "--out", out, "--resume")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(rows(Path(out).read_text())), 2)


class Names(Case):
    def test_bytes_that_are_no_text_are_replaced(self):
        odd = os.fsencode(self.folder) + b"/d\xff\xfe.h5"
        os.rename(self.source, odd)
        out, thresholds, page = self.path("r.jsonl"), self.path("T.json"), self.path("p.html")
        for line in (("anchor-recall", odd, "-o", out, "-o", self.path("r.csv"), "-o", self.path("r.json")), ("anchor-sweep", odd, "--thresholds-out", thresholds),
                     ("anchor-recall", odd, "--thresholds", thresholds), ("anchor-sweep", "cluster", odd, "-o", self.path("c.json")),
                     ("anchor-report", out, odd, "--html", page, "--method", "streaming")):
            done = subprocess.run([os.fsencode(tool(line[0])), *map(os.fsencode, line[1:])], capture_output=True)
            self.assertIn(done.returncode, (0, 4), done.stderr)
        self.assertIn("\ufffd", json.loads(Path(thresholds).read_text())["calibrated_on"][0])
        self.assertIn("\ufffd", rows(Path(out).read_text())[0]["dump"]["path"])


class ManyFailures(Case):
    def test_many_failed_heads_are_at_most_four_lines(self):
        import h5py
        import numpy as np
        path = self.dump("bad.h5", layers=6, q_heads=8, kv_heads=4, length=64)
        with h5py.File(path, "r+") as file:
            for layer in range(5):
                file[f"layers/{layer:03}/k"][:, 3, 2] = np.nan
        done = run("anchor-recall", path, *SMALL)
        self.assertEqual(done.returncode, 3)
        self.assertLessEqual(len(done.stderr.splitlines()), 4, done.stderr)
        self.assertRegex(done.stderr, r"\.\.\. and 3\d more such lines")
        self.assertEqual(sum(row["status"] == "error" for row in rows(done.stdout)), 40)
        self.assertEqual(len(run("anchor-recall", path, *SMALL, "-v").stderr.splitlines()) // 40, 1)
        self.assertEqual(run("anchor-recall", path, *SMALL, "-q").stderr, "")
        done = run("anchor-sweep", path, *SMALL, "--layers", "0-4")
        self.assertEqual(done.returncode, 1)
        self.assertLessEqual(len(done.stderr.splitlines()), 4, done.stderr)


if __name__ == "__main__":
    unittest.main()
