"""A test that drives data/hf_dump.py on a tiny model in a folder of its own; hf_tiny must have chosen the interpreter."""
import contextlib
import io
import json
import pathlib
import shutil
import tempfile
import unittest

import h5py
import numpy as np
import torch
import transformers

import hf_dump
import hf_tiny

TOKENS = 60


class HfCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="anchor_hf_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out, self.model = self.folder / "d.h5", self.folder / "model"

    def save(self, config="LlamaConfig", std=0.3, **settings):
        """Saves a random model; settings are those of hf_tiny.SIZES unless the configuration is given as an object."""
        if isinstance(config, str):
            config = getattr(transformers, config)(**{**hf_tiny.SIZES, **settings})
        model = hf_tiny.make_model(transformers, torch, config, std)
        model.save_pretrained(self.model)
        return model

    def ids(self, count=TOKENS, seed=0, name="ids.txt"):
        ids = np.random.default_rng(seed).integers(3, 97, count).tolist()
        (self.folder / name).write_text(json.dumps(ids))
        return self.folder / name

    def run_dump(self, *arguments, out=None):
        """(exit code, stdout, stderr) of hf_dump.py."""
        said, wrong = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
            try:
                code = hf_dump.main([*map(str, arguments), "--out", str(out or self.out)])
            except SystemExit as end:  # argparse
                code = end.code
        return code, said.getvalue(), wrong.getvalue()

    def dump(self, *arguments, ids=None, out=None):
        """Dumps the saved model and returns what it said."""
        code, said, wrong = self.run_dump("--model", self.model, "--input-ids", ids or self.ids(), *arguments, out=out)
        self.assertEqual((code, wrong), (0, ""))
        return said

    def refused(self, *arguments, words=(), code=1, ids=None):
        """One line on stderr that holds the words, nothing on stdout; no file is left or changed."""
        before = self.files()
        got, said, wrong = self.run_dump("--model", self.model, "--input-ids", ids or self.ids(), *arguments)
        self.assertEqual((got, said), (code, ""), wrong)
        self.assertEqual(len(wrong.splitlines()), 1, wrong)
        for word in words:
            self.assertIn(word, wrong)
        self.assertEqual(self.files(), before)

    def files(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.suffix in (".h5", ".part")}

    def assert_same_dump(self, one, other):
        with h5py.File(one) as a, h5py.File(other) as b:
            self.assertEqual(contents(a), contents(b))


def contents(group):
    """Everything in an HDF5 group but the time of writing."""
    found = {name: str(value) for name, value in group.attrs.items() if name != "created_utc"}
    for name, child in group.items():
        found[name] = contents(child) if isinstance(child, h5py.Group) else (str(child.dtype), child[()].tobytes())
    return found
