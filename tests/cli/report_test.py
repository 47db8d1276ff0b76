"""anchor-report and --html: what the page holds, and how it behaves in a real browser."""
import json
import os
import re
import sys
import unittest
from xml.etree import ElementTree

import numpy as np

from tools import ToolTest, heads, rows, run, write_dump

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import browser

SMALL = ("--block", 16, "--step", 1)


def page_data(path):
    with open(path) as file:
        text = file.read()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


class Page(ToolTest):
    """The file itself."""

    def report(self, *files, **more):
        result = run("anchor-report", *files, "--html", self.path("r.html"), *more.get("flags", ()))
        self.assertEqual(result.returncode, 0, result.stderr)
        return self.path("r.html")

    def test_every_tool_writes_its_rows_as_a_page(self):
        dump = self.dump()
        for tool, flags in (("anchor-recall", SMALL), ("anchor-sweep", (*SMALL, "--curves"))):
            result = run(tool, dump, *flags, "--html", self.path("t.html"))
            self.assertEqual(result.returncode, 0, result.stderr)
            data = page_data(self.path("t.html"))
            self.assertEqual(data["made"]["argv"][1:], [dump, *map(str, flags), "--html", self.path("t.html")])
            self.assertEqual(len(data["runs"]), 1)
        self.assertEqual(len(data["curves"][0]["heads"]), 8)

    def test_nothing_is_fetched_and_the_policy_allows_only_the_page_itself(self):
        run("anchor-recall", self.dump(), *SMALL, "--out", self.path("a.jsonl"))
        with open(self.report(self.path("a.jsonl"))) as file:
            text = file.read()
        self.assertIn("default-src 'none'; script-src 'sha256-", text)
        self.assertNotRegex(text.replace("http://www.w3.org/2000/svg", ""), r"https?://|src=|@import|url\(")

    def test_runs_are_told_apart_and_rows_count_once(self):
        dump = self.dump()
        run("anchor-recall", dump, "--theta", "3,9", *SMALL, "--out", self.path("a.jsonl"))
        data = page_data(self.report(self.path("a.jsonl"), self.path("a.jsonl")))
        self.assertEqual([r["params"]["theta"] for r in data["runs"]], [3, 9])
        self.assertEqual(sum(s["rows"] for s in data["sources"]), 16)
        run("anchor-sweep", dump, *SMALL, "--target", "mass_recall=0.9", "--thresholds-out", self.path("t.json"), "--out", self.path("s.jsonl"))
        run("anchor-recall", dump, "--thresholds", self.path("t.json"), "--out", self.path("b.jsonl"))
        data = page_data(self.report(self.path("b.jsonl")))
        self.assertEqual(len(data["runs"]), 1)
        self.assertIn("theta", data["runs"][0]["metrics"])  # it differs from head to head
        self.assertNotIn("theta", data["runs"][0]["params"])

    def test_figures_for_print(self):
        dump = self.dump()
        run("anchor-recall", dump, "--method", "anchor,streaming", "--set", "streaming.local=32", "--set", "anchor.block=16", "--set", "anchor.step=1",
            "--out", self.path("r.jsonl"))
        run("anchor-sweep", dump, *SMALL, "--curves", "--out", self.path("s.jsonl"))
        for figure, lines, words in (("pareto", 3, "streaming"), ("curves", 8 + 1 + 1, "mean")):
            result = run("anchor-report", self.path("r.jsonl"), self.path("s.jsonl"), "--svg", self.path("f.svg"), "--figure", figure)
            self.assertEqual(result.returncode, 0, result.stderr)
            root = ElementTree.parse(self.path("f.svg")).getroot()
            self.assertGreaterEqual(len(root.findall(".//{*}path")), lines)
            self.assertIn(words, " ".join(t.text for t in root.findall(".//{*}text")))
        self.check_error(run("anchor-report", self.path("r.jsonl"), "--svg", self.path("b.svg"), "--figure", "bench"), 1, "bench rows")
        self.check_error(run("anchor-report", self.path("r.jsonl"), "--svg", self.path("b.svg")), 2, "--figure")
        self.check_error(run("anchor-report", self.path("r.jsonl")), 2, "--html")
        self.assertFalse(os.path.exists(self.path("b.svg")))

    def test_bad_input(self):
        dump = self.dump()
        self.check_error(run("anchor-report", self.path("no.jsonl"), "--html", self.path("r.html")), 1, "no.jsonl", "cannot read")
        with open(self.path("bad.jsonl"), "w") as file:
            file.write('{"schema":"anchor-result/1","kind":"eval","scope":"all","status":"ok"}\n{"schema":"other"}\n')
        self.check_error(run("anchor-report", self.path("bad.jsonl"), "--html", self.path("r.html")), 1, "bad.jsonl:2")
        open(self.path("empty.jsonl"), "w").close()
        self.check_error(run("anchor-report", self.path("empty.jsonl"), "--html", self.path("r.html")), 1, "no result rows")
        self.check_error(run("anchor-report", dump, dump, "--html", self.path("r.html")), 2, "one dump")
        self.check_error(run("anchor-report", dump, "--html", self.path("no/r.html")), 1, "cannot write")
        self.check_error(run("anchor-report", dump, "--html", self.path("r.html"), "--layers", 9), 1, "9")
        run("anchor-recall", dump, *SMALL, "--out", self.path("a.jsonl"))
        self.check_error(run("anchor-report", self.path("a.jsonl"), "--html", self.path("r.html"), "--heads", 1), 2, "--heads")
        self.check_error(run("anchor-recall", dump, "--html", self.path("r.txt")), 2, ".html")
        self.assertFalse(os.path.exists(self.path("r.html")))

    def test_a_thousand_heads_stay_under_three_megabytes(self):
        path = self.path("big.h5")
        write_dump(path, {n: (*heads(n, 32, 8, 256, 256, 8), {}) for n in range(32)})
        run("anchor-recall", path, *SMALL, "--out", self.path("a.jsonl"))
        page = self.report(self.path("a.jsonl"), path, flags=SMALL)
        self.assertLess(os.path.getsize(page), 3e6)
        self.assertEqual(len(page_data(page)["views"][0]["heads"]), 1024)
        if not browser.find():
            self.skipTest("no Chromium: the page was not opened")
        window = browser.Browser()
        self.addCleanup(window.close)
        self.assertLess(window.open(page), 2 * 4)  # two seconds on a quiet machine
        self.assertEqual(window.evaluate("document.querySelectorAll('table.heat button').length"), 1024)
        self.assertEqual(window.errors, [])


@unittest.skipUnless(browser.find(), "no Chromium")
class InTheBrowser(ToolTest):
    def open(self, *files, flags=()):
        result = run("anchor-report", *files, "--html", self.path("r.html"), *flags)
        self.assertEqual(result.returncode, 0, result.stderr)
        window = browser.Browser()
        self.addCleanup(window.close)
        window.open(self.path("r.html"))
        self.addCleanup(lambda: self.assertEqual(window.errors, []))
        return window

    def test_pointing_clicking_and_keys(self):
        dump = self.dump()
        run("anchor-recall", dump, *SMALL, "--out", self.path("a.jsonl"))
        window = self.open(self.path("a.jsonl"), dump)
        x, y = window.evaluate("(() => { const b = document.querySelector('[data-head=\"1:2\"]').getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        window.mouse(x, y)
        self.assertIn("layer 1, head 2: density", window.evaluate("document.querySelector('[role=status]').textContent"))
        window.evaluate("document.querySelector('[data-head=\"0:0\"]').focus()")
        window.press("ArrowDown")
        window.press("ArrowRight")
        self.assertEqual(window.evaluate("document.activeElement.dataset.head"), "1:1")
        window.press("Enter")
        self.assertEqual(window.evaluate("location.hash"), "#head/1:1")
        window.mouse(5, 5)
        window.evaluate("document.getElementById('tab-overview').focus()")
        window.press("ArrowRight")
        self.assertEqual(window.evaluate("document.querySelector('[aria-selected=true]').textContent"), "Head")
        for tab in ("compare", "about", "overview"):
            window.evaluate(f"document.getElementById('tab-{tab}').click()")
            self.assertGreater(window.evaluate("document.querySelector('main').innerText.length"), 50)

    def test_the_slider_says_what_anchor_recall_finds(self):
        dump = self.dump(length=512)
        run("anchor-sweep", dump, *SMALL, "--curves", "--out", self.path("s.jsonl"))
        window = self.open(self.path("s.jsonl"), dump)
        for place in (0.0, 0.4, 0.8):
            window.evaluate("location.hash = 'head/1:3'; new Promise((done) => setTimeout(done, 50))")
            window.evaluate(f"(() => {{ const s = document.querySelector('input[type=range]'); s.value = Math.round({place} * s.max); s.dispatchEvent(new Event('input')); }})()")
            shown = window.evaluate("({...document.getElementById('at-slider').dataset})")
            theta = shown["knob"].replace("Infinity", "inf")
            row = rows(run("anchor-recall", dump, f"--theta={theta}", *SMALL, "--layers", 1, "--heads", 3).stdout)[0]
            self.assertAlmostEqual(float(shown["density"]), row["density"], delta=2e-5)
            self.assertAlmostEqual(float(shown["recall"]), row["mass_recall"], delta=2e-5)

    def test_overview_slider_moves_every_head(self):
        dump = self.dump()
        window = self.open(dump, flags=SMALL)
        read = "document.querySelector('main p').textContent"
        before = window.evaluate(read)
        window.evaluate("(() => { const s = document.querySelector('input[type=range]'); s.value = s.max; s.dispatchEvent(new Event('input')); })()")
        self.assertNotEqual(window.evaluate(read), before)
        self.assertIn("keep 100.00 % of the attention", window.evaluate(read))

    def test_a_matrix_of_fits(self):
        dumps = [self.dump(name, seed=10 * n, layers=1) for n, name in enumerate(("a.h5", "b.h5"))]
        result = run("anchor-sweep", "fit", ",".join(dumps), "--matrix", *SMALL, "--out", self.path("m.jsonl"))
        self.assertEqual(result.returncode, 0, result.stderr)
        window = self.open(self.path("m.jsonl"))
        window.evaluate("document.getElementById('tab-compare').click()")
        table = "[...[...document.querySelectorAll('h2')].find((h) => h.textContent.startsWith('Generalisation')).nextElementSibling.querySelectorAll('tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))"
        cells = window.evaluate(table)
        self.assertEqual([row[:2] for row in cells], [["anchor", "a.h5"], ["anchor", "b.h5"]])
        self.assertEqual([[text.endswith("*") for text in row[2:]] for row in cells], [[True, False], [False, True]])
        with open(self.path("m.jsonl")) as file:
            found = rows(file.read())
        shown = [r["mass_recall"] for r in found if r["scope"] == "head" and r["fitted_on"] == "a.h5" and r["dump"]["path"].endswith("b.h5")]
        self.assertAlmostEqual(float(cells[0][3].split()[0]), np.mean(shown), places=3)

    def test_failed_heads_say_so(self):
        q, k, v = heads(0, 4, 2, 128, 128, 16)
        k[1, 5, 3] = np.nan
        dump = self.path("nan.h5")
        write_dump(dump, {0: (q, k, v, {})})
        self.assertEqual(run("anchor-recall", dump, *SMALL, "--out", self.path("a.jsonl")).returncode, 3)
        window = self.open(self.path("a.jsonl"), dump)
        self.assertEqual(window.evaluate("[...document.querySelectorAll('table.heat button.missing')].map((b) => b.dataset.head)"), ["0:2", "0:3"])
        window.evaluate("document.querySelector('[data-head=\"0:3\"]').focus()")
        self.assertIn("failed: ", window.evaluate("document.querySelector('[role=status]').textContent"))
        window.evaluate("document.querySelector('[data-head=\"0:3\"]').click(); new Promise((done) => setTimeout(done, 50))")
        self.assertIn("This head has no map", window.evaluate("document.querySelector('main').innerText"))

    def test_hostile_names_are_text(self):
        hostile = '</script><script>window.hacked = 1</script><img src=x onerror="hacked=1">\u202egnp"\'' + "x" * 10000
        dump = self.path("h.h5")
        write_dump(dump, {0: (*heads(0, 2, 1, 64, 64, 16), {})}, model=hostile)
        run("anchor-recall", dump, *SMALL, "--out", self.path("a.jsonl"))
        window = self.open(self.path("a.jsonl"), dump)
        for page in ("overview", "head", "compare", "about"):
            window.evaluate(f"document.getElementById('tab-{page}').click()")
        self.assertIsNone(window.evaluate("window.hacked ?? null"))
        self.assertEqual(window.evaluate("document.querySelectorAll('img').length"), 0)
        self.assertTrue(window.evaluate("document.querySelector('h1').textContent").startswith("</script><script>"))

    def test_timings_and_tables(self):
        row = {"schema": "anchor-result/1", "kind": "bench", "scope": "layer", "status": "ok", "method": "anchor", "params": {"step": 1},
               "dump": {"model": "synthetic:mixed"}, "geometry": {"q_heads": 32, "kv_heads": 8, "q_len": 8192, "kv_len": 8192, "q_start": 0, "head_dim": 128, "dtype": "bf16"},
               "device": "card", "path": "cuda-sm90", "density": 0.1, "stats": {"median_ns": 3e5, "ci95_ns": [2.9e5, 3.1e5], "n": 9},
               "stages_ns": {"anchor": 100000, "stripes": 200000}, "speedup_cudnn": 2.5}
        more = [{**row, "unit": str(n), "method": m, "geometry": {**row["geometry"], "q_len": length, "kv_len": length},
                 "stats": {**row["stats"], "median_ns": 3e5 * (n + 1)}} for n, (m, length) in enumerate([("anchor", 8192), ("anchor", 32768), ("cudnn", 8192)])]
        more.append({**{k: v for k, v in row.items() if k != "stats"}, "unit": "x", "status": "skipped", "error": "out of memory"})
        with open(self.path("b.jsonl"), "w") as file:
            file.writelines(json.dumps(r) + "\n" for r in more)
        window = self.open(self.path("b.jsonl"))
        self.assertEqual(window.evaluate("document.querySelectorAll('svg.chart circle').length"), 3)
        self.assertIn("out of memory", window.evaluate("document.querySelector('main').innerText"))
        column = "[...document.querySelectorAll('table.data')[0].tBodies[0].rows].map((r) => r.cells[2].textContent)"
        window.evaluate("document.querySelectorAll('table.data')[0].querySelectorAll('th button')[2].click()")
        self.assertEqual(window.evaluate(column), ["0.3", "0.6", "0.9"])
        window.evaluate("document.querySelectorAll('table.data')[0].querySelectorAll('th button')[2].click()")
        self.assertEqual(window.evaluate(column), ["0.9", "0.6", "0.3"])


if __name__ == "__main__":
    unittest.main()
