"""anchor-report and --html: what the page holds, and how it behaves in a real browser."""
import json
import os
import re
import sys
import unittest
from xml.etree import ElementTree

import h5py
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
            self.assertEqual(data["made"]["argv"][1:], ["d.h5", *map(str, flags), "--html", "t.html"])
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

    def test_a_dump_of_any_length_is_a_page(self):
        for length, keys in ((1, 1), (2, 2), (15, 15), (17, 17), (31, 31), (64, 64), (100, 100), (129, 129), (255, 255), (300, 300),
                             (1, 40), (7, 260), (33, 100)):
            dump = self.path("n.h5")
            write_dump(dump, {0: (*heads(length, 2, 1, length, keys, 8), {})})
            run("anchor-recall", dump, "--method", "streaming", "--out", self.path("n.jsonl"))
            for files, flags in (((dump,), ()), ((dump,), ("--block", 8, "--step", 1)), ((self.path("n.jsonl"), dump), ())):
                if not files[1:] and (keys - length) % (8 if flags else 2048):
                    flags = (*flags, "--method", "streaming") if not flags else None  # anchor begins at whole groups
                if flags is None:
                    continue
                data = page_data(self.report(*files, flags=flags))
                self.assertEqual([h.get("error") for h in data["views"][0]["heads"]], [None, None], f"{length} of {keys}")
            os.remove(self.path("n.jsonl"))

    def test_no_place_and_no_machine_in_the_page(self):
        dump = self.dump()
        run("anchor-recall", dump, *SMALL, "--out", self.path("a.jsonl"))
        with open(self.report(self.path("a.jsonl"), dump)) as file:
            text = file.read()
        for gone in (self.folder, os.path.expanduser("~") + "/", os.environ["ANCHOR_BIN"], json.dumps(os.uname().nodename), '"host"'):
            self.assertFalse(gone in text, gone)

    def test_rows_of_another_dump(self):
        dump = self.dump()
        run("anchor-recall", dump, "--theta", 2, *SMALL, "--out", self.path("a.jsonl"))
        command = ("anchor-report", self.path("a.jsonl"), "--html", self.path("r.html"))
        for more in ({"length": 128}, {"q_heads": 2}, {"dim": 16}):
            other = self.dump("other.h5", **more)
            self.check_error(run(*command, other), 1, "a.jsonl", "d.h5", "other.h5")
        self.assertFalse(os.path.exists(self.path("r.html")))
        result = run(*command, self.dump("other.h5", seed=5))
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, "rows of .*d.h5.*other.h5")
        os.makedirs(self.path("elsewhere"))
        result = run(*command, self.dump("elsewhere/d.h5", seed=5))  # the name of the first, but another text
        self.assertEqual(result.returncode, 0)
        self.assertIn("do not agree", result.stderr)
        write_dump(self.path("elsewhere/d.h5"), {n: (*heads(n, 4, 2, 256, 256, 32), {}) for n in range(2)}, model="other model")
        result = run(*command, self.path("elsewhere/d.h5"))
        self.assertIn("other model", result.stderr)
        self.assertEqual(run(*command, dump).stderr, "")

    def test_figures_as_png_and_pdf(self):
        dump = self.dump()
        run("anchor-recall", dump, *SMALL, "--out", self.path("r.jsonl"))
        run("anchor-sweep", dump, *SMALL, "--curves", "--out", self.path("s.jsonl"))
        run("anchor-bench", "--seq", "256", "--dim", 64, "--q-heads", 2, "--kv-heads", 1, "--step", 1, "--time-limit", 0.2, "--device", "cpu",
            "--out", self.path("b.jsonl"))
        report = lambda rows, figure: lambda file: ("anchor-report", self.path(rows), "--figure", figure, "--svg", file)
        commands = {"heatmap": lambda file: ("anchor-recall", dump, *SMALL, "--svg", file),
                    "head map": lambda file: ("anchor-recall", dump, *SMALL, "--head-map", "0:1", "--svg", file),
                    "fronts": lambda file: ("anchor-recall", dump, *SMALL, "--method", "anchor,streaming", "--measure", "none", "--pareto", file),
                    "recall": report("r.jsonl", "pareto"), "sweep": report("s.jsonl", "curves"), "bench": report("b.jsonl", "bench")}
        if run(*commands["sweep"](self.path("probe.png"))).returncode != 0:
            for command in commands.values():
                result = run(*command(self.path("f.png")))
                self.assertEqual(result.returncode, 2)
                self.assertIn("librsvg", result.stderr)
                self.assertIn("f.svg", result.stderr)
            self.skipTest("built without librsvg: the refusals were tested")
        for name, command in commands.items():
            for end, magic in ((".svg", b"<svg"), (".png", b"\x89PNG\r\n"), (".pdf", b"%PDF-")):
                file = self.path("f" + end)
                result = run(*command(file))
                self.assertEqual(result.returncode, 0, f"{name}: {result.stderr}")
                with open(file, "rb") as made:
                    content = made.read()
                self.assertTrue(content.startswith(magic), name)
                if end == ".pdf":
                    self.assertIn(b"/Font", content, name)
                os.remove(file)
            result = run(*command(self.path("f.jpg")))
            self.assertEqual(result.returncode, 2, name)
            self.assertIn(".png or .pdf", result.stderr)
            self.assertFalse(os.path.exists(self.path("f.jpg")))

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

    SLIDER = "document.querySelector('input[type=range]')"

    def slide(self, window, place):
        window.evaluate(f"(() => {{ const s = {self.SLIDER}; s.value = Math.round({place} * s.max); s.dispatchEvent(new Event('input')); }})()")

    def go(self, window, page):
        window.evaluate(f"location.hash = '{page}'; new Promise((done) => setTimeout(done, 50))")

    def kept_cells(self, window):
        """Of the map on the screen: which cells are not dimmed, row by row, from its pixels."""
        return window.evaluate("""(() => {
          const canvas = document.querySelector("figure canvas"), view = viewOf.get(state.head), tiles = mapTiles(), size = canvas.width / tiles;
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, rows = [];
          const packed = bytes(view.mass);
          let cell = 0;
          for (let row = 0; row < tiles; ++row) for (let block = 0; block <= row; ++block, ++cell) {
            const at = 4 * (Math.floor((row + 0.5) * size) * canvas.width + Math.floor((block + 0.5) * size));
            const colour = "#" + [0, 1, 2].map((n) => pixels[at + n].toString(16).padStart(2, "0")).join("");
            rows.push(colour === color(packed[cell] === 0 ? 0 : (packed[cell] - 1) / 254));
          }
          return rows;
        })()""")

    def test_every_stop_is_exact(self):
        """Numbers, map and row recalls at several stops are those of plans that anchor-recall makes there."""
        length, tile = 512, 16
        dump = self.dump(length=length)
        run("anchor-sweep", dump, *SMALL, "--curves", "--out", self.path("s.jsonl"))
        window = self.open(self.path("s.jsonl"), dump)
        self.go(window, "head/1:3")
        self.assertGreater(window.evaluate(self.SLIDER + ".max | 0"), 20)
        maps = set()
        with h5py.File(dump) as file:
            q, k = file["layers/001/q"][3].astype("f8"), file["layers/001/k"][1].astype("f8")
        scores = np.where(np.tri(length, dtype=bool), q @ k.T * q.shape[1] ** -0.5, -np.inf)
        mass = np.exp(scores - scores.max(1, keepdims=True))
        mass /= mass.sum(1, keepdims=True)
        for place in (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0):
            self.slide(window, place)
            shown = window.evaluate("({...document.getElementById('at-slider').dataset})")
            theta = shown["knob"].replace("Infinity", "inf")
            words = window.evaluate(f"number({shown['knob']}, 6)")
            self.assertEqual(window.evaluate("document.querySelector('output').textContent"), words)
            row = rows(run("anchor-recall", dump, f"--theta={theta}", *SMALL, "--layers", 1, "--heads", 3).stdout)[0]
            self.assertAlmostEqual(float(shown["density"]), row["density"], delta=1e-6)
            self.assertAlmostEqual(float(shown["recall"]), row["mass_recall"], delta=1e-5)
            kept = self.plan(q, k, float(theta))
            self.assertAlmostEqual(kept.sum() / np.tri(length).sum(), row["density"], delta=1e-4)
            recall = np.array(json.loads(window.evaluate("document.getElementById('row-recall').dataset.values")))
            tiles = (mass * kept).sum(1).reshape(len(recall), -1).mean(1)
            self.assertLess(np.abs(recall - tiles).max(), 1e-3, theta)
            seen = np.tri(length).reshape(length // tile, tile, length // tile, tile).sum((1, 3))
            share = kept.reshape(length // tile, tile, length // tile, tile).sum((1, 3)) / np.maximum(seen, 1)
            lower = np.tril_indices(length // tile)
            clear = np.abs(share[lower] - 0.5) > 0.1  # a borderline score may fall either way
            cells = np.array(self.kept_cells(window))
            self.assertTrue((cells == (share[lower] >= 0.5))[clear].all(), theta)
            maps.add(cells.tobytes())
            self.assertIn(f"theta {words}", window.evaluate("document.querySelector('figcaption').textContent"))
        self.assertGreater(len(maps), 4)

    def plan(self, q, k, theta, block=16):
        """Which pairs AnchorAttention keeps with one block to a group, in float64."""
        n, position = len(q), np.arange(len(q))
        scores = q @ k.T * q.shape[1] ** -0.5
        causal = np.tri(n, dtype=bool)
        region = causal & ((position < block) | (position >= (position[:, None] // block * block) - block))
        anchor = np.where(region, scores, -np.inf).max(1)
        groups = n // block
        pooled = q.reshape(groups, block, -1).mean(1) @ k.T * q.shape[1] ** -0.5
        joins = anchor.reshape(groups, block).mean(1)[:, None] - pooled <= theta
        return region | (causal & joins.repeat(block, 0))

    def test_the_slider_starts_where_the_rows_are_and_says_so(self):
        dump = self.dump()
        run("anchor-recall", dump, "--theta", 3.21, *SMALL, "--out", self.path("a.jsonl"))
        run("anchor-sweep", dump, *SMALL, "--target", "mass_recall=0.9", "--out", self.path("s.jsonl"))
        with open(self.path("s.jsonl")) as file:
            found = {(r["dump"]["layer"], r["dump"]["head"]): r for r in rows(file.read()) if r["kind"] == "sweep" and r["scope"] == "head"}
        for files, words in (((self.path("a.jsonl"), self.path("s.jsonl")), "of the run of anchor-recall"), ((self.path("s.jsonl"),), "fitted for mass_recall 0.9")):
            window = self.open(*files, dump)
            self.go(window, "head/1:2")
            start = float(window.evaluate("document.getElementById('at-slider').dataset.knob"))
            self.assertEqual(start, 3.21 if len(files) == 2 else found[1, 2]["value"])
            self.assertIn(words, window.evaluate("document.getElementById('at-slider').textContent"))
            fitted = found[1, 2]
            window.evaluate("[...document.querySelectorAll('main button')].find((b) => b.textContent.includes('fitted')).click()")
            shown = window.evaluate("({...document.getElementById('at-slider').dataset})")
            self.assertEqual(float(shown["knob"]), fitted["value"])
            self.assertAlmostEqual(float(shown["density"]), fitted["density"], delta=1e-6)
            self.assertAlmostEqual(float(shown["recall"]), fitted["mass_recall"], delta=1e-5)
        window = self.open(dump, flags=SMALL)
        self.go(window, "head/0:0")
        self.assertEqual(window.evaluate("document.getElementById('at-slider').dataset.knob"), "12")
        self.assertIn("as the command line says", window.evaluate("document.getElementById('at-slider').textContent"))

    def test_stripes_are_those_of_the_slider(self):
        dump = self.dump()
        window = self.open(dump, flags=SMALL)
        self.go(window, "head/0:1")
        tables = set()
        for place in (0.0, 0.5, 0.7, 1.0):
            self.slide(window, place)
            theta = window.evaluate("document.getElementById('at-slider').dataset.knob").replace("Infinity", "inf")
            table = window.evaluate("[...document.querySelectorAll('table.data tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")
            with h5py.File(dump) as file:
                q, k = file["layers/000/q"][1].astype("f8"), file["layers/000/k"][0].astype("f8")
            kept = self.plan(q, k, float(theta))
            last = kept[15::16] & ~self.plan(q, k, -np.inf)[15::16]  # the last row of each list
            for key, _, _, lists, possible in table:
                self.assertLessEqual(abs(last[:, int(key)].sum() - int(lists)), 1, (theta, key))
                self.assertLessEqual(int(lists), int(possible))
            if not np.isfinite(float(theta)) and float(theta) < 0:
                self.assertEqual(table, [])
            tables.add(json.dumps(table))
        self.assertGreaterEqual(len(tables), 3)

    def test_overview_slider_moves_every_head(self):
        dump = self.dump()
        window = self.open(dump, flags=SMALL)
        read = "document.querySelector('main p').textContent"
        before = window.evaluate(read)
        self.assertIn("at theta 12 (as the command line says)", before)
        for place in (0.3, 0.6):
            self.slide(window, place)
            knob = window.evaluate("state.knob")
            found = rows(run("anchor-recall", dump, f"--theta={knob}", *SMALL).stdout)
            shown = window.evaluate("[...document.querySelectorAll('table.heat button')].map((b) => Number(b.getAttribute('aria-label').split(' ').at(-1)))")
            np.testing.assert_allclose(shown, [r["mass_recall"] for r in found], atol=1e-4)
        self.slide(window, 1)
        self.assertNotEqual(window.evaluate(read), before)
        self.assertIn("keep 100.00 % of the attention", window.evaluate(read))

    def test_a_phone_needs_no_sideways_scroll(self):
        dump = self.dump(q_heads=32, kv_heads=8)
        with open(self.path("b.jsonl"), "w") as file:
            for n in range(13):
                for length in (8192, 32768):
                    file.write(json.dumps({"schema": "anchor-result/1", "kind": "bench", "scope": "layer", "status": "ok", "method": f"method-{n}", "params": {},
                                           "dump": {"model": "m"}, "geometry": {"q_heads": 32, "kv_heads": 8, "q_len": length, "kv_len": length, "q_start": 0, "head_dim": 128, "dtype": "bf16"},
                                           "device": "NVIDIA H200", "path": "cuda-sm90", "unit": f"{n} {length}", "env": {"sm_clock_mhz": 1980},
                                           "stats": {"median_ns": 1e6 * (n + 1), "ci95_ns": [1e6, 2e7], "n": 9}, "stages_ns": {"plan": 1, "execute": 2}}) + "\n")
        run("anchor-recall", dump, "--theta", "3,9", *SMALL, "--out", self.path("a.jsonl"))
        run("anchor-sweep", dump, *SMALL, "--curves", "--out", self.path("s.jsonl"))
        window = self.open(self.path("a.jsonl"), self.path("s.jsonl"), self.path("b.jsonl"), dump)
        for width in (390, 1280):
            window.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 500)
            for page in ("overview", "head", "compare", "bench", "about"):
                window.evaluate(f"document.getElementById('tab-{page}').click(); new Promise((done) => setTimeout(done, 50))")
                self.assertLessEqual(window.evaluate("document.documentElement.scrollWidth"), width, f"{page} at {width}")
        window.evaluate("document.getElementById('tab-bench').click(); new Promise((done) => setTimeout(done, 50))")
        lines = window.evaluate("[...document.querySelectorAll('svg.chart path.line')].map((p) => p.getAttribute('stroke') + p.getAttribute('stroke-dasharray'))")
        self.assertEqual(len(set(lines)), 13)
        names = window.evaluate("[...document.querySelectorAll('svg.chart text.label')].map((t) => t.firstChild.textContent)")
        self.assertEqual(sorted(names), sorted(f"method-{n}" for n in range(13)))
        text = window.evaluate("document.querySelector('figcaption').textContent")
        self.assertIn("NVIDIA H200", text)
        self.assertIn("1980 MHz", text)
        window.evaluate("document.getElementById('tab-overview').click()")
        options = window.evaluate("[...document.querySelectorAll('select')][0].innerText")
        self.assertIn("anchor theta=3 (recall)", options)
        self.assertNotIn("mode=", options)  # what all runs have in common

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
        self.assertEqual(window.evaluate("document.querySelectorAll('svg.chart path.dot').length"), 3)
        self.assertIn("out of memory", window.evaluate("document.querySelector('main').innerText"))
        column = "[...document.querySelectorAll('table.data')[0].tBodies[0].rows].map((r) => r.cells[2].textContent)"
        window.evaluate("document.querySelectorAll('table.data')[0].querySelectorAll('th button')[2].click()")
        self.assertEqual(window.evaluate(column), ["0.3", "0.6", "0.9"])
        window.evaluate("document.querySelectorAll('table.data')[0].querySelectorAll('th button')[2].click()")
        self.assertEqual(window.evaluate(column), ["0.9", "0.6", "0.3"])


if __name__ == "__main__":
    unittest.main()
