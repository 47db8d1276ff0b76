"""The notebooks run from top to bottom on the committed rows and dumps, are committed without outputs, and show what they say."""
import ast
import importlib.util
import json
import os
import pathlib
import sys
import unittest

missing = [name for name in ("matplotlib", "pandas", "h5py") if importlib.util.find_spec(name) is None]
if missing:
    print(f"skipped: no {', '.join(missing)} (./dev setup installs them)")
    sys.exit(0)

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def execute(path):
    """Runs the code cells as Jupyter would; returns their names, the values they show and the number of figures."""
    namespace, shown = {"__name__": "__main__"}, []
    plt.close("all")
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        body = ast.parse(source).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        name = f"{path.name} cell {number}"
        exec(compile(ast.Module(body, []), name, "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            if value is not None and not source.endswith(";"):
                shown.append(value)
    for figure in map(plt.figure, plt.get_fignums()):
        figure.canvas.draw()
    return namespace, shown, len(plt.get_fignums())


class Notebooks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        here = os.getcwd()
        os.chdir(ROOT / "notebooks")  # where Jupyter runs them
        try:
            cls.results = {path.name[:2]: execute(path) for path in NOTEBOOKS}
        finally:
            os.chdir(here)

    def test_every_notebook_draws_and_shows_tables_with_numbers(self):
        self.assertEqual([path.name[:2] for path in NOTEBOOKS], ["01", "02", "03", "04"])
        for number, (_, shown, figures) in self.results.items():
            self.assertGreater(figures, 0, number)
            self.assertGreaterEqual(len(shown), 2, number)
            for value in shown:
                text = value.to_html()
                self.assertRegex(text, r"\d", number)

    def test_one_head(self):
        names, _, _ = self.results["01"]
        self.assertEqual(names["mass"].shape, (1024, 1024))
        self.assertAlmostEqual(names["cells"].sum() * names["BLOCK"], 1024, delta=0.1)
        self.assertTrue((names["sorted_rows"].mean(axis=0) >= names["sorted_columns"] - 1e-5).all())

    def test_recall_against_density(self):
        names, _, _ = self.results["02"]
        self.assertGreaterEqual(len(names["names"]), 12)
        self.assertEqual(names["summary"].isna().sum().sum(), 0)
        table = names["table"]["mean recall 0.95"]
        self.assertLess(table["cdf"], table["stripe-oracle step 1"])  # rows of their own need least
        self.assertLess(table["stripe-oracle step 1"], table["anchor step 1"])

    def test_thresholds(self):
        names, _, _ = self.results["03"]
        fitted = names["fitted"]
        self.assertEqual(len(fitted), 72)
        self.assertTrue((fitted["mass_recall"] >= 0.95).all())
        self.assertLess(names["matrix"]["min", "mass_recall"].loc["prose", "code"], 0.95)

    def test_bench(self):
        names, _, _ = self.results["04"]
        rows = names["rows"]
        self.assertTrue(((rows["low"] <= rows["ms"]) & (rows["ms"] <= rows["high"])).all())
        base = rows[rows["name"] == "cudnn"].set_index("tokens")["ms"]
        ratio = base.loc[rows["tokens"]].to_numpy() / rows["ms"]
        self.assertLess(abs(ratio / rows["speedup_cudnn"] - 1).max(), 1e-9)


class Committed(unittest.TestCase):
    def test_without_outputs(self):
        for path in NOTEBOOKS:
            for cell in json.loads(path.read_text())["cells"]:
                self.assertFalse(cell.get("outputs"), f"{path.name}: clear the outputs before committing")

    def test_rows_do_not_name_a_machine(self):
        for path in sorted((ROOT / "notebooks/rows").glob("*.jsonl")):
            for row in map(json.loads, path.read_text().splitlines()):
                self.assertEqual({"host", "os"} & set(row["env"]), set(), path.name)

    def test_small(self):
        size = sum(path.stat().st_size for folder in ("data", "notebooks") for path in (ROOT / folder).rglob("*")
                   if path.suffix in (".h5", ".jsonl", ".ipynb"))
        self.assertLess(size, 2e6)


if __name__ == "__main__":
    unittest.main()
