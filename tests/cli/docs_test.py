"""The README pages: links lead somewhere, every flag in a command line exists, Python examples compile."""
import functools
import pathlib
import re
import unittest

from tools import run

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(path for path in ROOT.rglob("*.md") if not {"build", "demo"} & set(path.relative_to(ROOT).parts))
SUBCOMMANDS = {"anchor-dump": ("model", "synthetic", "inspect", "verify", "export", "import"), "anchor-bench": ("compare",)}


@functools.cache
def known_flags(*command):
    text = run(*command, "--help").stdout
    return set(re.findall(r"(?<![\w-])--?[\w-]+", text.split("\nExamples:")[0]))


def commands_in(text):
    """Command lines of the tools, in code blocks and in inline code."""
    blocks = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    lines = blocks.splitlines() + re.findall(r"`([^`\n]+)`", text)
    for line in lines:
        for command in re.split(r"[|;]|&&", line.split("  #")[0]):
            words = command.removeprefix("$ ").split()
            if words and words[0].split("/")[-1].startswith("anchor-"):
                yield [words[0].split("/")[-1], *words[1:]]


class Pages(unittest.TestCase):
    def test_links(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
                if re.match(r"\w+:", target):
                    continue
                path, _, section = target.partition("#")
                file = page.parent / path if path else page
                self.assertTrue(file.exists(), f"{page.relative_to(ROOT)}: {target}")
                if section:
                    headings = [re.sub(r"[^\w\s-]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
                                for line in file.read_text().splitlines() if line.startswith("#")]
                    self.assertIn(section, headings, f"{page.relative_to(ROOT)}: {target}")

    def test_flags(self):
        checked = 0
        for page in PAGES:
            for words in commands_in(page.read_text()):
                if words[0] not in ("anchor-dump", "anchor-recall", "anchor-sweep", "anchor-bench", "anchor-report"):
                    continue
                sub = [word for word in words[1:2] if word in SUBCOMMANDS.get(words[0], ())]
                for flag in (word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)):
                    checked += 1
                    self.assertIn(flag, known_flags(words[0], *sub), f"{page.relative_to(ROOT)}: {' '.join(words)}")
        self.assertGreater(checked, 50)

    def test_python_examples_compile(self):
        for page in PAGES:
            for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
                compile(code, str(page), "exec")


if __name__ == "__main__":
    unittest.main()
