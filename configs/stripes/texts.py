"""Writes the texts on which stripes was calibrated and judged: three kinds to fit on, the same kinds and a fourth to test on.

    build/venv/bin/python configs/stripes/texts.py FOLDER      # downloads one wheel from PyPI (26 MB)

fit-prose: Wikipedia articles, test-prose: newspaper articles (both from the test data of gensim 4.3.3). fit-code: numpy's
sources, test-code: pandas' (the versions of ./dev setup). fit-needles, test-needles: 160 facts between the sentences of
that half's prose, then questions about them with their answers; names and sentences of the two differ. test-licence: two
licences, a kind that nothing was fitted on. Each is a little over 8,192 tokens of SmolLM2. fit-long, test-long: more of the
same prose and sources in turns, 600,000 characters, over 128k tokens.
"""

import bz2
import glob
import html
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import zipfile

import numpy
import pandas

ADJECTIVES = "amber brass coral dusty early faded grand hidden inner jolly keen lunar mossy noble olive pale".split()
NOUNS = ("anchor barrel candle drawer engine feather garden hammer island jacket kettle ladder mirror needle orchard "
         "pillow").split()
# The texts to test on share neither names nor sentences with those to fit on.
FIRST = "Ada Boris Carla Dmitri Elena Farid Greta Hugo Ines Jonas Katya Leo Mina Nils Olga Pavel".split()
LAST = "Abbott Brandt Castro Duval Eriksen Fontaine Grimm Hansen Ivanov Jensen Keller Lindt Moreau Novak Okafor Peters".split()
FACTS = {"fit": ("The code of the {} is {}.", "Question: what is the code of the {}? Answer: the code of the {} is {}.",
                 ADJECTIVES, NOUNS),
         "test": ("{} can be reached at extension {}.", "Which extension should I dial for {}? To reach {}, dial {}.",
                  FIRST, LAST)}


def prose():
    """(Wikipedia articles without markup, newspaper articles)"""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                        "--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64",
                        "-d", folder, "gensim==4.3.3"], check=True)
        wheel = zipfile.ZipFile(glob.glob(folder + "/*.whl")[0])
        read = lambda name: wheel.read("gensim/test/test_data/" + name)
        news = read("lee_background.cor").decode()
        pages = bz2.decompress(read("enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2")).decode()
    wiki = html.unescape("\n".join(re.findall(r"<text[^>]*>([^<]{5000,})</text>", pages)))
    markup = ((r"\{\{[^{}]*\}\}", ""), (r"<ref[^>]*>.*?</ref>|<[^>]*>", ""), (r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1"),
              ("'{2,}", ""))
    for pattern, plain in markup:
        wiki = re.sub(pattern, plain, wiki, flags=re.S)
    return wiki, news


def needles(text, seed, use):
    """Facts between sentences, then questions and answers."""
    fact, question, first, last = FACTS[use]
    random.seed(seed)
    names = [f"{a} {n}" for a in first for n in last]
    random.shuffle(names)
    names = names[:160]
    code = {name: f"{random.randrange(10**6):06d}" for name in names}
    sentences = [s.strip() + "." for s in text.replace("\n", " ").split(". ") if 40 < len(s) < 300]
    lines = []
    for name, sentence in zip(names, sentences):
        lines += [fact.format(name, code[name]), sentence]
    for name in (random.choice(names) for _ in range(400)):
        lines.append(question.format(name, name, code[name]))
    return "\n".join(lines) + "\n"


def alternate(prose, package, files):
    """600,000 characters: 20,000 of prose and of the package's sources in turns, prose again from its start when it ends."""
    code = "".join((pathlib.Path(package.__file__).parent / name).read_text() for name in files)
    size = 20000
    part = lambda text, n: (text[n * size % len(text):] + text)[:size]
    return "".join(part(prose, n) + part(code, n) for n in range(15))


def main(folder):
    wiki, news = prose()
    source = lambda package, name: (pathlib.Path(package.__file__).parent / name).read_text()
    licence = lambda name: pathlib.Path("/usr/share/common-licenses", name).read_text()
    texts = {"fit-prose": wiki[:60000], "test-prose": news[:60000],
             "fit-code": source(numpy, "lib/_function_base_impl.py")[:60000],
             "test-code": source(pandas, "core/frame.py")[30000:90000],
             "fit-needles": needles(wiki, 1, "fit"), "test-needles": needles(news, 2, "test"),
             "test-licence": licence("GPL-3") + licence("Apache-2.0"),
             "fit-long": alternate(wiki[60000:], numpy, ["ma/core.py", "linalg/_linalg.py"]),
             "test-long": alternate(news[60000:], pandas, ["core/generic.py", "core/series.py"])}
    out = pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / f"{name}.txt").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
