"""No type or function with external linkage stands twice in a namespace: the linker would keep one of two unlike twins.

Types and functions of lib, apps and kernels are compared by their full names (functions with their parameters, too), as
universal-ctags reads them. What an unnamed namespace or `static` keeps inside one file may have the name of another."""
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop() if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
# Stand-ins of builds without CUDA, behind #ifndef ANCHOR_HAVE_CUDA: never linked beside their twins.
STAND_INS = {"cuda_device_count", "make_cuda_engine", "make_cuda_model"}


def tags(root):
    done = subprocess.run(["ctags", "-f", "-", "--output-format=json", "--languages=C++", "--langmap=C++:+.cu.cuh",
                           "--kinds-C++=csguf", "--fields=+SKsfn", "-D__global__=", "-D__launch_bounds__(...)=", "-R",
                           *(name for name in ("lib", "apps", "kernels") if (root / name).is_dir())],
                          cwd=root, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def parameters(tag):
    """The parameters' types as far as text tells: names and defaults differ between equal functions."""
    text = re.sub(r"\s*=[^,)]*", "", tag.get("signature", ""))
    return re.sub(r"\b(\w[\w:<>]*[\s&*]+)\w+(?=\s*[,)])", r"\1", text).replace(" ", "")


def twins(root):
    """(how many names there are, the ones that stand in several files with their places)"""
    places = names(tags(root))
    return len(places), [f"{name}: " + ", ".join(f"{path}:{line}" for path, line in sorted(where.items()))
                         for name, where in sorted(places.items()) if len(where) > 1]


def names(found):
    """{full name: {file: line}} of everything that other files could see. The compiler sees to twins within a file."""
    places = collections.defaultdict(dict)
    for tag in found:
        scope = tag.get("scope", "")
        hidden = "__anon" in scope or "__anon" in tag["name"] or (tag.get("file") and tag["kind"] == "function")
        if hidden or tag["name"] == "main" or tag["name"] in STAND_INS or tag.get("scopeKind") == "function":
            continue
        key = f"{scope}::{tag['name']}" + (parameters(tag) if tag["kind"] == "function" else "")
        places[key][tag["path"]] = tag["line"]
    return places


class Twins(unittest.TestCase):
    def test_every_name_stands_once(self):
        count, found = twins(ROOT)
        self.assertGreater(count, 1000, "ctags found hardly any names")
        self.assertEqual(found, [], "\n".join(["twins:", *found]))

    def test_twins_are_seen_and_namesakes_are_not(self):
        one = "namespace n { struct A { int x; }; int f(int a) { return a; } namespace { struct B {}; } static int g() { return 1; } }\n"
        two = "namespace n { struct A { char x; }; int f(int b) { return -b; } namespace { struct B {}; } static int g() { return 2; }\n"
        two += "int f(double) { return 0; } namespace m { struct A {}; } struct A; int f(int); }\n"
        with tempfile.TemporaryDirectory() as folder:
            for path, text in (("lib/one.cpp", one), ("kernels/two.cu", two)):
                (pathlib.Path(folder) / path).parent.mkdir()
                (pathlib.Path(folder) / path).write_text(text)
            _, found = twins(pathlib.Path(folder))
        self.assertEqual([twin.split(": ")[0] for twin in found], ["n::A", "n::f(int)"])


if __name__ == "__main__":
    unittest.main()
