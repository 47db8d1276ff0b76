"""anchor-eval: tasks from a seed, and what methods do to a model's answers."""
import json
import os
import pathlib
import tempfile
import unittest

import tiny_models as tiny
from tools import rows, run

MODEL = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden", "tiny_llama.gguf")
KINDS = "needle,key_value,needle_middle"


def stable(path):
    """The rows without what tells when and by which command line they were made."""
    with open(path) as file:
        return [{key: value for key, value in row.items() if key not in ("t", "env", "argv")} for row in rows(file.read())]


class Eval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tasks = os.path.join(cls.folder.name, "tasks.jsonl")
        result = run("anchor-eval", "tasks", "--tokenizer", MODEL, "--length", 1200, "--kinds", KINDS, "--count", 2, "-o", cls.tasks)
        assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def answer(self, name, *arguments):
        result = run("anchor-eval", "run", "--model", MODEL, "--tasks", self.tasks, "--rope-scaling", "linear:4",
                     "-o", self.path(name), "-q", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return stable(self.path(name))

    def test_tasks(self):
        with open(self.tasks) as file:
            tasks = rows(file.read())
        self.assertEqual([task["kind"] for task in tasks], [kind for kind in KINDS.split(",") for _ in range(2)])
        for task in tasks:
            prompt = task["prompt"].encode()
            evidence = b" ".join(prompt[begin:end] for begin, end in task["evidence"]).decode()
            self.assertIn(task["answer"].strip(), evidence)
        again = run("anchor-eval", "tasks", "--tokenizer", MODEL, "--length", 1200, "--kinds", KINDS, "--count", 2)
        self.assertEqual(rows(again.stdout), tasks)
        other = run("anchor-eval", "tasks", "--tokenizer", MODEL, "--length", 1200, "--kinds", KINDS, "--count", 2, "--split", "fit")
        self.assertFalse({task["prompt"] for task in rows(other.stdout)} & {task["prompt"] for task in tasks})

    def test_ruler(self):
        result = run("anchor-eval", "tasks", "--tokenizer", MODEL, "--length", 1200, "--kinds", "needle_values", "--count", 1, "--ruler")
        (task,) = rows(result.stdout)
        self.assertEqual(sorted(task), ["answer_prefix", "index", "input", "length", "outputs"])
        self.assertEqual(len(task["outputs"]), 4)
        for output in task["outputs"]:  # as RULER's string_match_all looks for them
            self.assertRegex(output, r"^\d{7}$")
            self.assertIn(output, task["input"])

    def test_a_full_plan_flips_nothing(self):
        found = self.answer("full.jsonl", "--method", "anchor", "--theta", "inf")
        by_scope = {scope: [row for row in found if row["scope"] == scope] for scope in ("task", "kind", "all")}
        self.assertEqual([len(by_scope[scope]) for scope in ("task", "kind", "all")], [6, 3, 1])
        for row in by_scope["task"] + by_scope["kind"]:
            self.assertEqual(row["flips"], 0)
            self.assertLess(row["kl_max"], 1e-6)
            self.assertEqual(row["same_top"], 1)
            self.assertAlmostEqual(row["density"], 1)
        for row in by_scope["task"]:
            self.assertAlmostEqual(row["log_probability"], row["dense_log_probability"], places=3)
        middle = [row for row in by_scope["task"] if row["task_kind"] == "needle_middle"]
        single = [row for row in by_scope["task"] if row["task_kind"] == "needle"]
        self.assertGreater(len(middle[0]["kl"]), 3 * len(single[0]["kl"]))  # answers in the middle count, too

    def test_a_sparse_plan_moves_probabilities(self):
        found = self.answer("sparse.jsonl", "--theta", 1, "--block", 64, "--step", 1)
        self.assertTrue(all(0 < row["kl_mean"] for row in found if row["scope"] == "task"))
        self.assertTrue(all(row["density"] < 1 for row in found if row["scope"] == "task"))

    def test_an_interrupted_run_is_continued(self):
        whole = self.answer("whole.jsonl", "--method", "streaming,dense")
        with open(self.path("whole.jsonl")) as file:
            lines = file.read().splitlines(keepends=True)
        with open(self.path("torn.jsonl"), "w") as file:
            file.write("".join(lines[:5]) + lines[5][:40])
        self.assertEqual(self.answer("torn.jsonl", "--method", "streaming,dense", "--resume"), whole)
        # Another decode is another request.
        plan = self.answer("torn.jsonl", "--method", "streaming,dense", "--resume", "--decode", "plan")
        self.assertGreater(len(plan), len(whole))

    def first_row(self, model, tasks):
        result = run("anchor-eval", "run", "--model", model, "--tasks", tasks, "--method", "dense", "-q")
        self.assertEqual(result.returncode, 0, result.stderr)
        return rows(result.stdout)[0]

    def test_a_folder_is_a_model_and_its_contents_count_for_resume(self):
        task = {"schema": "anchor-tasks/1", "id": "a", "kind": "needle", "length": 64, "depth": 0, "prompt": "the hen in the inn",
                "answer": " then", "evidence": [[4, 7]], "seed": 1}
        tasks = self.path("one.jsonl")
        with open(tasks, "w") as file:
            file.write(json.dumps(task) + "\n")

        def answer(seed):
            with tempfile.TemporaryDirectory() as folder:
                return self.first_row(tiny.write_folder(pathlib.Path(folder) / "tiny", tensors=tiny.weights(seed)), tasks)

        first, again, other = answer(0), answer(0), answer(1)
        self.assertEqual(first["dump"]["model"], "tiny")
        self.assertEqual(first["unit"], again["unit"])
        self.assertNotEqual(first["unit"], other["unit"])

    def test_bad_input(self):
        broken = self.path("broken.jsonl")
        with open(broken, "w") as file:
            file.write('{"schema":"anchor-tasks/1","id":"a"}\n')
        for arguments, code, message in [
            (["tasks", "--tokenizer", MODEL, "--kinds", "poem"], 2, "no kind of task poem; there are needle, "),
            (["tasks", "--tokenizer", MODEL, "--kinds", "common_words", "--length", 100], 2, "fits into 100 tokens"),
            (["tasks", "--kinds", "needle"], 2, "--tokenizer is needed"),
            (["run", "--model", MODEL, "--tasks", broken], 1, f'{broken}:1: field "kind" is missing'),
            (["run", "--model", MODEL, "--tasks", self.tasks, "--dense-layers", 77], 2, "--dense-layers"),
            (["run", "--model", MODEL, "--tasks", self.tasks, "--device", "tpu"], 2, "unknown device tpu"),
            (["run", "--model", MODEL, "--tasks", self.tasks, "--device", "cpu", "--weights", "stream"], 2,
             "--weights is about a CUDA device"),
        ]:
            with self.subTest(arguments=arguments):
                result = run("anchor-eval", *arguments)
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn(message, result.stderr)
                self.assertEqual(result.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
