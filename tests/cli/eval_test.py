"""anchor-eval: tasks from a seed, and what methods do to a model's answers."""
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import numpy as np

import tiny_models as tiny
from tools import rows, run, tool

MODEL = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden", "tiny_llama.gguf")
KINDS = "needle,key_value,needle_middle"
PINNED = "d05d92b96783d3492d274bdb494077f368690fe5f198490e0114d79ca76a4c32"  # of one task of each kind, as every machine makes them


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

    def test_a_killed_run_is_continued_to_the_same_bytes(self):
        whole = self.answer("kill_whole.jsonl", "--method", "streaming,dense")
        command = [tool("anchor-eval"), "run", "--model", MODEL, "--tasks", self.tasks, "--rope-scaling", "linear:4", "-q",
                   "--method", "streaming,dense", "-o", self.path("killed.jsonl"), "--resume"]
        for least in (1, 5):  # killed as soon as so many rows are there
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            while process.poll() is None:
                if os.path.exists(self.path("killed.jsonl")):
                    with open(self.path("killed.jsonl"), "rb") as file:
                        if file.read().count(b"\n") >= least:
                            process.send_signal(signal.SIGKILL)
                            break
                time.sleep(0.01)
            process.wait()
        self.assertEqual(self.answer("killed.jsonl", "--method", "streaming,dense", "--resume"), whole)

    def test_tasks_are_the_same_on_every_machine(self):
        result = run("anchor-eval", "tasks", "--tokenizer", MODEL, "--length", "2k", "--count", 1)
        self.assertEqual(len(rows(result.stdout)), 15)
        self.assertEqual(hashlib.sha256(result.stdout.encode()).hexdigest(), PINNED)

    def test_the_kl_report_is_what_numpy_finds_in_the_logits(self):
        folder = self.path("logits")
        os.makedirs(folder)
        found = self.answer("logits.jsonl", "--method", "streaming,anchor", "--set", "streaming.local=64", "--set", "streaming.sink=1",
                            "--set", "anchor.theta=1", "--set", "anchor.block=64", "--set", "anchor.step=1", "--logits", folder)

        def log_softmax(logits):
            logits = logits.astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

        by_method = {"streaming": [], "anchor": []}
        for row in (row for row in found if row["scope"] == "task"):
            number = ["streaming", "anchor"].index(row["method"])
            dense = log_softmax(np.load(f"{folder}/{row['task']}.dense.npy"))
            sparse = log_softmax(np.load(f"{folder}/{row['task']}.{number}.npy"))
            kl = (np.exp(dense) * (dense - sparse)).sum(axis=1)
            np.testing.assert_allclose(row["kl"], kl, rtol=1e-9, atol=1e-12)
            self.assertAlmostEqual(row["kl_mean"], kl.mean())
            self.assertAlmostEqual(row["kl_max"], kl.max())
            self.assertAlmostEqual(row["kl_p999"], np.percentile(kl, 99.9))
            self.assertAlmostEqual(row["same_top"], (dense.argmax(axis=1) == sparse.argmax(axis=1)).mean())
            by_method[row["method"]].append(kl)
        for row in (row for row in found if row["scope"] == "kind" and row["task_kind"] == "needle"):
            self.assertAlmostEqual(row["kl_mean"], np.concatenate(by_method[row["method"]][:2]).mean())

    def test_a_density_is_matched(self):
        for flags in (("--method", "xattention,streaming", "--set", "streaming.sink=16"),):
            found = self.answer("match.jsonl", *flags, "--match", "density=0.5", "--match-tasks", 3)
            for method in ("xattention", "streaming"):
                own = [row for row in found if row["scope"] == "task" and row["method"] == method]
                self.assertEqual(len(own), 6)
                self.assertEqual(own[0]["target"], {"metric": "density", "statistic": "mean", "value": 0.5})
                self.assertEqual(len({row["value"] for row in own}), 1)
                self.assertNotIn({"xattention": "tau", "streaming": "local"}[method], own[0]["params"])
            streaming = [row["density"] for row in found if row["scope"] == "task" and row["method"] == "streaming"]
            self.assertAlmostEqual(np.mean(streaming), 0.5, delta=0.03)
        result = run("anchor-eval", "run", "--model", MODEL, "--tasks", self.tasks, "--rope-scaling", "linear:4", "-q", "--method", "streaming",
                     "--match", "density=0.001", "--match-tasks", 1)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no knob of streaming gives a density of 0.001", result.stderr)

    def test_an_error_is_matched_on_a_dump(self):
        text, dump = self.path("fit.txt"), self.path("fit.h5")
        with open(text, "w") as file:
            file.write("the hen in the inn then met ten men. " * 60)
        result = run("anchor-dump", "model", "--model", MODEL, "--text", text, "--tokens", 256, "--out", dump)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = self.answer("error.jsonl", "--method", "stripes", "--match", "out_rel_l2=0.2", "--match-on", dump)
        knob = next(row["value"] for row in found if row["scope"] == "task")
        for theta, within in ((knob, True), (knob - 1, False)):
            result = run("anchor-recall", dump, "--method", "stripes", "--theta", theta)
            errors = [row["out_rel_l2"] for row in rows(result.stdout)]
            self.assertEqual(np.mean(errors) <= 0.2 * 1.001, within, (theta, np.mean(errors)))

    def test_shards_make_the_rows_of_one_run(self):
        flags = ("--method", "streaming,dense")
        whole = self.answer("sharded_whole.jsonl", *flags)
        parts = []
        for index in range(2):
            parts.append(self.path(f"part-{index}.jsonl"))
            part = self.answer(f"part-{index}.jsonl", *flags, "--shard", f"{index}/2")
            self.assertEqual([row["scope"] for row in part], ["task"] * 6)
        merged = self.path("merged.jsonl")
        result = run("anchor-report", "merge", *reversed(parts), "-o", merged)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(stable(merged), whole[:12])
        self.assertEqual(self.answer("merged.jsonl", *flags, "--resume"), whole)  # what speaks for all is added
        result = run("anchor-report", "merge", parts[1], "-o", self.path("hole.jsonl"))
        self.assertEqual(result.returncode, 4)
        self.assertIn("shard 0/2 is missing", result.stderr)
        self.answer("other.jsonl", "--method", "dense", "--shard", "0/2")
        result = run("anchor-report", "merge", self.path("other.jsonl"), parts[1], "-o", self.path("mixed.jsonl"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("answer different requests", result.stderr)
        self.assertFalse(os.path.exists(self.path("mixed.jsonl")))

    def test_ruler_scores(self):
        path = os.path.join(os.path.dirname(MODEL), "ruler_predictions.jsonl")
        with open(path) as file:
            predictions = [json.loads(line) for line in file]
        # RULER's published rules: string_match_all and string_match_part of its scripts, over tidied predictions.
        tidy = lambda text: "".join("\n" if ord(c) < 32 else c for c in text).strip()
        found = [[float(ref.lower() in tidy(one["pred"]).lower()) for ref in one["outputs"]] for one in predictions]
        every = 100 * np.mean([np.mean(one) for one in found])
        some = 100 * np.mean([max(one) for one in found])
        self.assertEqual((round(every, 2), round(some, 2)), (45.83, 66.67))
        result = run("anchor-eval", "score", path)
        (score,) = rows(result.stdout)
        self.assertEqual(score["n"], 6)
        self.assertAlmostEqual(score["string_match_all"], every)
        self.assertAlmostEqual(score["string_match_part"], some)

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
            (["run", "--model", MODEL, "--tasks", self.tasks, "--shard", "2/2"], 2, "write I/N"),
            (["run", "--model", MODEL, "--tasks", self.tasks, "--match", "recall=0.5"], 2, "the metric is density or out_rel_l2"),
            (["run", "--model", MODEL, "--tasks", self.tasks, "--match", "out_rel_l2=0.05"], 2, "needs --match-on DUMP"),
            (["run", "--model", MODEL, "--tasks", self.tasks, "--match", "density=0.5", "--match-on", "d.h5"], 2, "no --match-on"),
            (["run", "--model", MODEL, "--tasks", self.tasks, "--logits", self.path("nowhere")], 2, "this folder is not there"),
            (["score", broken], 1, f'{broken}:1: field "pred" is missing'),
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
