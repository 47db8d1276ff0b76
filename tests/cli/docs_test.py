"""The pages: links and paths lead somewhere, commands and flags exist, examples run and print what the page shows.
And the comments of the sources: a file or folder that one of them names is there."""
import functools
import os
import pathlib
import re
import subprocess
import sys
import unittest

from tools import ToolTest, run, run_in_terminal

ROOT = pathlib.Path(__file__).parents[2]


def is_apart(folder):
    """Not the repository's own: what is built, and hidden folders (git's, an editor's, a virtual environment)."""
    return folder in ("build", "demo", "__pycache__") or (folder.startswith(".") and folder != ".ci")


PAGES = sorted(path for path in ROOT.rglob("*.md") if not any(map(is_apart, path.relative_to(ROOT).parts)))
TOOLS = ("anchor-dump", "anchor-recall", "anchor-sweep", "anchor-bench", "anchor-report")
RUNNABLE = ("data/README.md", "data/SCORING.md")  # their examples need nothing but the repository
GUIDE_LINES = 120                                 # of a README, code blocks not counted
PROSE_COLUMNS = 120                               # of a line of prose; tables are exempt
SOURCE = r"[\w./-]*\w\.(?:cpp|hpp|cu|cuh|py|sh|md|toml|js)"  # the name of a file of the repository
PLACEHOLDER = re.compile("NAME|ROOM|FOLDER|[*{<…]|key_norm")  # key_norm: what a reader of the method page writes


def name(page):
    return str(page.relative_to(ROOT))


def code_blocks(text):
    """[(language, code)]"""
    return re.findall(r"^```([a-z]*)\n(.*?)^```", text, re.M | re.S)


def without_code_blocks(text):
    return re.sub(r"^```.*?^```\n", "", text, flags=re.M | re.S)


def inline_code(text):
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_code_blocks(text))]


@functools.cache
def help_of(*command):
    return run(*command, "--help").stdout.split("\nExamples:")[0]


@functools.cache
def known_flags(*command):
    return set(re.findall(r"(?<![\w-])--?[\w-]+", help_of(*command)))


@functools.cache
def subcommands(tool):
    listed = re.search(r"\nCommands:\n((?:  .*\n)+)", help_of(tool))
    return re.findall(r"^  (\w[\w-]*)", listed[1], re.M) if listed else []


@functools.cache
def files():
    """Every file of the repository."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [each for each in folders if not is_apart(each)]
        found += [str((pathlib.Path(folder) / each).relative_to(ROOT)) for each in names]
    return found


def top_folders():
    return {path.name for path in ROOT.iterdir() if path.is_dir() and not is_apart(path.name)}


def commands_in(text):
    """Command lines of the tools, in code blocks and in inline code."""
    blocks = "\n".join(code for _, code in code_blocks(text)).replace("\\\n", " ")
    for line in blocks.splitlines() + inline_code(text):
        for command in re.split(r"[|;]|&&", line.split("  #")[0]):
            words = command.removeprefix("$ ").split()
            if words and words[0].split("/")[-1].startswith("anchor-"):
                yield [words[0].split("/")[-1], *words[1:]]


def console(code):
    """[(command, lines that it prints)] of a block whose commands begin with $."""
    found = []
    for line in code.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


NUMBER = r"\d*\.?\d+"


def alike(shown, printed):
    """The same words, and numbers that differ by no more than another processor's rounding."""
    if re.sub(NUMBER, "0", shown).split() != re.sub(NUMBER, "0", printed).split():
        return False
    return all(abs(float(a) - float(b)) <= 2e-3 + 1e-2 * abs(float(b))
               for a, b in zip(re.findall(NUMBER, shown), re.findall(NUMBER, printed)))


def shows(page, printed):
    """Do the lines of a page stand in what was printed, in this order? A line of three dots stands for any others."""
    at, skips = 0, False
    for line in page:
        if line == "...":
            skips = True
            continue
        if skips:
            while at < len(printed) and not alike(line, printed[at]):
                at += 1
        if at == len(printed) or not alike(line, printed[at]):
            return False
        at, skips = at + 1, False
    return skips or at == len(printed)


class Pages(unittest.TestCase):
    def test_links(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
                if re.match(r"\w+:", target):
                    continue
                path, _, section = target.partition("#")
                file = page.parent / path if path else page
                self.assertTrue(file.exists(), f"{name(page)}: {target}")
                if section:
                    headings = [re.sub(r"[^\w\s-]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
                                for line in file.read_text().splitlines() if line.startswith("#")]
                    self.assertIn(section, headings, f"{name(page)}: {target}")

    def test_paths(self):
        """A path in inline code is a file or folder, from the root, the page, or some folder of the repository."""
        checked = 0
        top = top_folders()
        for page in PAGES:
            for span in inline_code(page.read_text()):
                if re.search(r"\s", span) or PLACEHOLDER.search(span):
                    continue
                source = re.fullmatch(SOURCE, span)
                first = span.split("/")[0]
                if first == "build":  # what is built need not be there
                    continue
                folder = first in top or (page.parent / first).is_dir()
                if not source and not (folder and re.fullmatch(r"[\w.-]+/[\w./-]*", span)):
                    continue
                checked += 1
                there = (ROOT / span).exists() or (page.parent / span).exists()
                there = there or (source and any(("/" + file).endswith("/" + span) for file in files()))
                self.assertTrue(there, f"{name(page)}: `{span}` is not there")
        self.assertGreater(checked, 100)

    def test_commands(self):
        flags = 0
        for page in PAGES:
            text = page.read_text()
            for words in commands_in(text):
                if words[0] not in TOOLS:
                    continue
                sub = [word for word in words[1:2] if word in subcommands(words[0])]
                for flag in (word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)):
                    flags += 1
                    self.assertIn(flag, known_flags(words[0], *sub), f"{name(page)}: {' '.join(words)}")
            for command in re.findall(r"\./dev ([a-z]+(?: --[a-z]+)?)", text):
                self.assertRegex((ROOT / "dev").read_text(), rf"(?m)^  {command}( |$)", f"{name(page)}: ./dev {command}")
        self.assertGreater(flags, 50)

    def test_guides_are_short(self):
        for page in PAGES:
            if page.name == "README.md":
                lines = len(without_code_blocks(page.read_text()).splitlines())
                self.assertLessEqual(lines, GUIDE_LINES, f"{name(page)}: measurements and trials belong into notes")

    def test_lines_of_prose_are_short(self):
        for page in PAGES:
            for line in without_code_blocks(page.read_text()).splitlines():
                if not line.startswith("|"):
                    self.assertLessEqual(len(line), PROSE_COLUMNS, f"{name(page)}: {line}")

    def test_the_library_page_shows_the_example(self):
        example = (ROOT / "examples/replay_one_group.cpp").read_text()
        self.assertIn(("cpp", example), code_blocks((ROOT / "lib/README.md").read_text()))

    def test_the_floor_plan_has_every_room_in_the_order_of_its_arrows(self):
        """A room's includes point to rooms that stand above it in the table of lib/README.md."""
        plan = re.findall(r"^\| `(\w+)/` \|", (ROOT / "lib/README.md").read_text(), re.M)
        rooms = sorted(path.name for path in (ROOT / "lib/anchor").iterdir() if path.is_dir())
        self.assertEqual(sorted(plan), rooms)
        for at, room in enumerate(plan):
            for path in (ROOT / "lib/anchor" / room).rglob("*.[ch]pp"):
                for other in re.findall(r'^#include "anchor/(\w+)/', path.read_text(), re.M):
                    if other != "kernels":
                        self.assertIn(other, plan[:at + 1], f"{name(path)} includes {other}/")

    def test_number_of_methods(self):
        methods = re.findall(r"(?m)^\S.*", run("anchor-recall", "--list-methods").stdout)
        counts = [count for page in PAGES for count in re.findall(r"(\d+) methods", page.read_text()) if "planners" not in page.parts]
        self.assertIn(str(len(methods)), counts)
        self.assertIn(f"{len(methods)} methods", (ROOT / "README.md").read_text())

    def test_python_examples_compile(self):
        for page in PAGES:
            for language, code in code_blocks(page.read_text()):
                if language == "python":
                    compile(code, str(page), "exec")


def comments(path):
    """The comments of a source file."""
    text = path.read_text()
    if path.suffix in (".cpp", ".hpp", ".cu", ".cuh", ".c", ".js", ".css", ".in"):
        return re.findall(r"//[^\n]*|/\*.*?\*/", text, re.S)
    found = re.findall(r"(?:^|(?<=\s))#[^\n]*", text, re.M)
    return found + re.findall(r'""".*?"""', text, re.S) if path.suffix == ".py" else found


def is_source(path):
    return path.suffix in (".cpp", ".hpp", ".cu", ".cuh", ".c", ".js", ".css", ".in", ".py", ".sh", ".cmake", ".toml",
                           ".yaml") or path.name == "CMakeLists.txt" or str(path.relative_to(ROOT)) in ("dev", ".ci/run")


class Comments(unittest.TestCase):
    def test_files_that_they_name_are_there(self):
        """A path from the root or from lib/anchor (some rooms and folders share a name) exists; a shorter one ends some file's path."""
        top = "|".join(map(re.escape, sorted(top_folders())))
        word = re.compile(rf"(?<![\w./:-])(?:(?:{top})/[\w./-]*\w|{SOURCE})(?![\w*{{<$])")
        checked, missing = 0, []
        for path in (ROOT / file for file in files()):
            if not is_source(path):
                continue
            for comment in comments(path):
                for span in word.findall(comment):
                    if PLACEHOLDER.search(span) or span.startswith("github.com/"):
                        continue
                    checked += 1
                    there = any((folder / span).exists() for folder in (ROOT, ROOT / "lib/anchor", path.parent))
                    if not re.match(rf"(?:{top})/", span):
                        there = there or any(("/" + file).endswith("/" + span) for file in files())
                    if not there:
                        missing.append(f"{name(path)}: {span}")
        self.assertEqual(missing, [])
        self.assertGreater(checked, 40)


class Examples(ToolTest):
    def test_run_as_pasted(self):
        """Python and commands of a page, one after the other in one folder that has the repository's data."""
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        os.symlink(ROOT / "data", "data")
        python = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        checked = 0
        for page in RUNNABLE:
            for language, code in code_blocks((ROOT / page).read_text()):
                if language == "python":
                    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=python)
                    self.assertEqual(result.returncode, 0, f"{page}:\n{result.stderr}")
                    checked += 1
                for command, shown in console(code):
                    words = command.split()
                    if words[0] == "python":
                        result = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, env=python)
                        status, printed = result.returncode, result.stdout
                    else:
                        status, printed = run_in_terminal(*words, TERM="dumb")
                    self.assertEqual(status, 0, f"{page}: {command}")
                    printed = printed.strip().splitlines()
                    self.assertTrue(shows(shown, printed), f"{page}: {command} prints\n" + "\n".join(printed))
                    checked += 1
        self.assertGreaterEqual(checked, 5)


if __name__ == "__main__":
    unittest.main()
