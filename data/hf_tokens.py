"""The tokens of a text, from a model's tokenizer or from a file of ids."""
import json
import os
import pathlib
import re

import h5py

from hf_message import Refusal, warn


def from_file(path, count):
    """The input_ids of a dump, or integers in a text file: a JSON list, or separated by spaces, commas or lines."""
    if h5py.is_hdf5(path):
        with h5py.File(path) as dump:
            if "input_ids" not in dump:
                raise Refusal(f"{path} has no input_ids; a dump that anchor-dump model or hf_dump.py made has them")
            ids = dump["input_ids"][:].tolist()
    else:
        text = pathlib.Path(path).read_text(errors="replace")
        if not re.fullmatch(r"[\s\d,\[\]]*", text):
            raise Refusal(f"{path}: neither a dump nor a list of token ids")
        ids = [int(number) for number in re.findall(r"\d+", text)]
    return _some(ids[:count], path)


def from_text(path, tokenizer, count, gguf=None):
    """Bytes as they are: no newline translation, ill-formed UTF-8 as U+FFFD. `gguf`: settings of a GGUF file."""
    text = pathlib.Path(path).read_bytes().decode("utf-8", errors="replace")
    ids = tokenizer(text)["input_ids"]
    if gguf:
        ids = gguf.with_its_bos(ids, tokenizer)
    return _some(ids[:count], path)


def _some(ids, path):
    if not ids:
        raise Refusal(f"{path}: the text has no tokens")
    return ids


class GgufSettings:
    """What a GGUF file says about its tokenizer, which transformers does not take over in full."""

    def __init__(self, folder, name):
        path = os.path.join(folder, name)
        self.name, self.values = name, {}
        if not os.path.isfile(path):  # on the hub
            return
        import gguf

        fields = gguf.GGUFReader(path).fields
        for key in ("model", "pre", "add_bos_token", "bos_token_id"):
            field = fields.get(f"tokenizer.ggml.{key}")
            if field is not None:
                self.values[key] = field.contents()

    def with_its_bos(self, ids, tokenizer):
        """With a BOS token where the file wants one, without it where it does not."""
        bos = self.values.get("bos_token_id", tokenizer.bos_token_id)
        wanted = self.values.get("add_bos_token", self.values.get("model") == "llama")
        has = bool(ids) and ids[0] == bos
        if not self.values or bos is None or bool(wanted) == has:
            return ids
        warn(f"{self.name} says {'to begin' if wanted else 'not to begin'} with the BOS token {bos}, transformers does "
             "otherwise; the file is followed")
        return [int(bos), *ids] if wanted else ids[1:]

    def warn_of_its_words(self):
        pre = self.values.get("pre")
        if self.values.get("model") == "gpt2" and pre not in (None, "default", "gpt-2"):
            warn(f"transformers drops the pre-tokenizer {json.dumps(pre)} of {self.name}, so words may be cut otherwise than "
                 "the model knows them; --tokenizer NAME takes the original tokenizer, --input-ids FILE the ids of a dump "
                 "by anchor-dump model")
