"""Writes pre_tokenizer.json (pieces per label) and tokenizer.json (ids of SmolLM2 and of the tiny model) with the
`tokenizers` library, on texts chosen to be unpleasant.

    python tests/golden/make_tokenizer_golden.py SmolLM2-135M-Instruct.gguf       (needs: tokenizers gguf)

The pre-tokenizers are those of the models' own tokenizer.json on Hugging Face.
"""
import json
import pathlib
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

HERE = pathlib.Path(__file__).parent
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

PRE_TOKENIZERS = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]),
    "llama-bpe": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                          pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
    "qwen2": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                                      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
}

TEXTS = [
    b"",
    b" ",
    b"\n",
    b"Hello world",
    b"  leading and trailing  ",
    b"It's we'll they've I'm you'd he's WE'LL THEY'VE i'M 'S 'sing 'tis don't'd",
    b"The year 1984, 3.14159 and 1234567890 or 0x1F; 10,000,000.00",
    b"\xd9\xa1\xd9\xa2\xd9\xa3 \xe0\xa5\xa7\xe0\xa5\xa8 \xe2\x85\xa7 \xc2\xbd \xc2\xb2 \xe2\x91\xa0 \xe4\xb8\x89",
    " ".join(chr(c) for c in (0x1F600, 0x1F468)).encode() + "\U0001F468\u200D\U0001F469\u200D\U0001F467 \U0001F3F3\uFE0F\u200D\U0001F308 \U0001F1E9\U0001F1EA".encode(),
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \ud55c\uad6d\uc5b4".encode(),
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd".encode(),
    "e\u0301 a\u0308\u0323 n\u0303 Z\u0351\u036b\u0343\u036a\u0302\u036b o\u0338 \u00e9 \u1e69".encode(),
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 \u10e5\u10d0\u10e0 \u1f08\u03c1\u03c7\u03ae".encode(),
    b"a" * 70 + b" " * 70 + b"b" + b" " * 33 + b"7" + b"\n" * 20 + b"\t\t\tx",
    b"   \n\n   \r\n \r \t mixed\x0b\x0cspace \n",
    "nbsp\u00a0 en\u2003quad\u2002 ideographic\u3000 zwsp\u200b line\u2028para\u2029 nel\u0085 mvs\u180e bom\ufeff ogham\u1680x".encode(),
    b"word  7  two   spaces 8 ",
    b"def f(x):\n    if x >= 2:\n        return x**2  # sq\n\n\nprint(f(3))\n",
    b"<|im_start|>user\nHi<|im_end|>\n<|endoftext|><|endoftext|> <|im_start <|unknown|> <repo_name>",
    b"<|bos|>the cat<|end|> sat <|bos|><|end",
    b"!!! ??? ... --- ___ ### $$$ %%% ^&*() {}[] \\ / | ~` @\"'<>",
    b"tab\tsep\tvalues\r\nand\r\nlines\n\n",
    b"na\xc3\xafve \xff\xfe caf\xc3 \xe2\x82 \xf0\x9f\x98 ok \xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80 end\xe4",
    b"\x00\x01\x7f\x1b[0m nul",
    "\u017fs 'ſ 'ſt İi ǅ ß ẞ ﬁ Ⅳ".encode(),
    b"antidisestablishmentarianism supercalifragilisticexpialidocious http://example.org/?q=1&r=%20",
]


def hugging_face_tokenizer(reader):
    """The tokenizers.Tokenizer of a GGUF file, and the token to put in front (or None)."""
    field = lambda name: reader.fields[name].contents()
    label = field("tokenizer.ggml.pre")
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in field("tokenizer.ggml.merges")]
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=label == "llama-bpe"))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[label]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k == 4])
    return tokenizer, field("tokenizer.ggml.bos_token_id") if field("tokenizer.ggml.add_bos_token") else None


def decoded(text):
    return text.decode("utf-8", errors="replace")


def main():
    pieces = {}
    for label, pre in PRE_TOKENIZERS.items():
        pieces[label] = []
        for text in TEXTS:
            string = decoded(text)
            split = pre.pre_tokenize_str(string) if string else []
            # Offsets count characters; a byte-level piece can only be reported whole, so neighbours share no offset.
            pieces[label].append([string[a:b] for _, (a, b) in split])
            assert "".join(pieces[label][-1]) == string, (label, string)
    hexed = [text.hex() for text in TEXTS]
    (HERE / "pre_tokenizer.json").write_text(json.dumps({"texts": hexed, "pieces": pieces}) + "\n")

    ids = {}
    for name, path in {"smollm2": sys.argv[1], "tiny": HERE / "tiny_llama.gguf"}.items():
        tokenizer, bos = hugging_face_tokenizer(gguf.GGUFReader(path))
        front = [] if bos is None else [bos]
        ids[name] = [front + tokenizer.encode(decoded(text)).ids for text in TEXTS]
    (HERE / "tokenizer.json").write_text(json.dumps({"texts": hexed, "ids": ids}) + "\n")


if __name__ == "__main__":
    main()
