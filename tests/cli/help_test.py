"""Help, completions and man pages, all made from the option table: they fit 80 columns, their examples print what they say."""
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from tools import ToolTest, run, run_in_terminal, tool

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path.name for path in Path(os.environ["ANCHOR_BIN"]).glob("anchor-*") if "." not in path.name and
               path.name not in ("anchor-cpu-speed",))
COMMANDS = ([(name,) for name in TOOLS] + [("anchor-dump", sub) for sub in ("model", "synthetic", "inspect", "verify", "export", "import")] +
            [("anchor-sweep", sub) for sub in ("fit", "calibrate", "cluster")])


def options_of(*command):
    """The options that --help lists."""
    text = run(*command, "--help").stdout.split("\nExamples:")[0]
    return sorted(set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", text, re.M)))


def examples_of(*command):
    """[(command line, printed lines)] of --help."""
    found = []
    for line in run(*command, "--help").stdout.split("\nExamples:\n")[1].splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return [(line, "\n".join(printed).strip()) for line, printed in found]


NUMBER = r"\d*\.?\d+"


def without_numbers(text):
    """A table's words: how wide its columns are depends on their numbers."""
    return re.sub(r"[ -]+", " ", re.sub(NUMBER, "0", text))


class Help(unittest.TestCase):
    def test_fits_80_columns(self):
        for command in COMMANDS:
            for flag in ("-h", "--help"):
                result = run(*command, flag)
                self.assertEqual(result.returncode, 0)
                for line in result.stdout.splitlines():
                    self.assertLessEqual(len(line), 80, line)

    def test_short_help_starts_with_two_examples(self):
        for command in COMMANDS:
            for line in run(*command, "-h").stdout.splitlines()[:2]:
                self.assertTrue(line.startswith(" ".join(command)), line)

    def test_short_help_of_the_bench_has_its_main_options(self):
        text = run("anchor-bench", "-h").stdout
        for flag in ("--seq", "--q-heads", "--kv-heads", "--dim", "--dump", "--match", "--stripe-density", "--baseline"):
            self.assertIn(flag, text)

    def test_names_defaults_choices_and_what_is_required(self):
        text = re.sub(r"\s+", " ", run("anchor-recall", "--help").stdout)
        self.assertIn("--head-map LAYER:HEAD", text)
        self.assertIn("(default mass_recall)", text)
        self.assertIn("mass_recall_p05", text)
        self.assertNotIn("TEXT", text)
        usage = run("anchor-sweep", "--help").stdout
        self.assertIn("Usage: anchor-sweep [OPTIONS] [DUMP]\n       anchor-sweep COMMAND ...\n", usage)
        self.assertIn("Usage: anchor-sweep fit [OPTIONS] DUMPS\n", run("anchor-sweep", "fit", "--help").stdout)
        self.assertIn("--model FILE|FOLDER A GGUF file, or a folder as transformers saves it (required)",
                      re.sub(r"\s+", " ", run("anchor-dump", "model", "--help").stdout))


class Examples(ToolTest):
    def test_print_what_the_help_shows(self):
        """All that need no more than a dump; times are not compared."""
        shutil.copy(ROOT / "data/smollm2.h5", self.path("dump.h5"))
        checked = 0
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        for command in COMMANDS:
            for line, expected in examples_of(*command):
                if not expected:
                    continue
                words = line.split()
                self.assertEqual(words[0], command[0])
                code, printed = run_in_terminal(*words, TERM="dumb")
                self.assertEqual(code, 0, line)
                printed = "\n".join(part.rstrip() for part in printed.strip().splitlines())
                if command[0] == "anchor-bench":  # a slow machine takes too few samples for an interval
                    printed, expected = (re.sub(r"^((?:[^|]*\|){6})[^|]*\|", r"\1|", text, flags=re.M) for text in (printed, expected))
                words_printed, words_shown = without_numbers(printed), without_numbers(expected)
                self.assertEqual(words_printed, words_shown)
                if command[0] != "anchor-bench":  # another processor rounds otherwise
                    for a, b in zip(re.findall(NUMBER, printed), re.findall(NUMBER, expected)):
                        self.assertAlmostEqual(float(a), float(b), delta=2e-3 + 1e-2 * abs(float(b)), msg=line)
                checked += 1
        self.assertGreaterEqual(checked, 5)


class Errors(ToolTest):
    def test_what_is_missing_comes_with_a_hint(self):
        self.check_error(run("anchor-recall"), 2, "DUMP is required", "anchor-recall -h")
        self.check_error(run("anchor-dump"), 2, "model, synthetic, inspect", "-h")
        self.check_error(run("anchor-dump", "model"), 2, "--model is required", "anchor-dump model -h")
        self.check_error(run("anchor-recall", "--completion", "tcsh"), 2, "bash, zsh and fish")


class Completion(ToolTest):
    def script(self, name, shell):
        result = run(name, "--completion", shell)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        Path(self.path("completion")).write_text(result.stdout)
        return result.stdout

    def bash(self, *words):
        """What bash offers for the last word."""
        self.script(words[0], "bash")
        before = words[-2] if len(words) > 1 else ""
        code = f"""source {self.path('completion')}
            COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}
            compopt() {{ [[ $2 == default ]] && echo files; }}
            _{words[0].replace('-', '_')} {words[0]!r} {words[-1]!r} {before!r}
            printf '%s\\n' "${{COMPREPLY[@]}}" """
        result = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
        self.assertEqual(result.stderr, "")
        return result.stdout.split()

    def test_bash_offers_options_words_and_files(self):
        for name in TOOLS:
            offered = self.bash(name, "--")
            self.assertLessEqual(set(options_of(name)), set(offered), name)
            self.assertFalse({"--man", "--completion"} & set(offered))
        self.assertEqual(self.bash("anchor-recall", "d.h5", "--format", "js"), ["json", "jsonl"])
        self.assertEqual(self.bash("anchor-recall", "--format", "=", "c"), ["csv"])
        self.assertEqual(self.bash("anchor-recall", "--method", "anchor,xa"), ["anchor,xattention"])
        self.assertEqual(self.bash("anchor-recall", "--out", "r"), ["files"])
        self.assertEqual(self.bash("anchor-recall", "d"), ["files"])
        self.assertEqual(self.bash("anchor-recall", "--layers", ""), [])

    def test_bash_knows_subcommands(self):
        self.assertLessEqual({"model", "verify"}, set(self.bash("anchor-dump", "")))
        self.assertEqual(self.bash("anchor-dump", "synthetic", "--dtype", "b"), ["bf16"])
        self.assertEqual(self.bash("anchor-dump", "model", "--rope"), ["--rope-scaling"])
        self.assertEqual(self.bash("anchor-dump", "verify", "--rope"), [])
        self.assertEqual(self.bash("anchor-dump", "verify", "d"), ["files"])
        self.assertIn("--error", self.bash("anchor-sweep", "calibrate", "--"))
        self.assertNotIn("--error", self.bash("anchor-sweep", "--"))

    def test_bash_offers_commands_beside_the_files_that_a_tool_takes(self):
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        Path("clean.h5").touch()
        self.assertEqual(set(self.bash("anchor-sweep", "cl")), {"cluster", "clean.h5"})
        self.assertLessEqual({"fit", "calibrate", "cluster", "clean.h5"}, set(self.bash("anchor-sweep", "")))
        self.assertEqual(self.bash("anchor-sweep", "--measure", "n"), ["none"])

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish(self):
        for name in TOOLS:
            self.script(name, "fish")
            subprocess.run(["fish", "-n", self.path("completion")], check=True)
        ask = lambda line: subprocess.run(["fish", "-c", f"source {self.path('completion')}; complete -C {line!r}"], capture_output=True,
                                          text=True, check=True, env={**os.environ, "HOME": self.folder}).stdout
        self.script("anchor-recall", "fish")
        self.assertIn("xattention", ask("anchor-recall --method x"))
        self.script("anchor-dump", "fish")
        self.assertIn("--rope-scaling", ask("anchor-dump model --ro"))
        self.assertNotIn("--rope-scaling", ask("anchor-dump verify --ro"))

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh(self):
        for name in TOOLS:
            text = self.script(name, "zsh")
            subprocess.run(["zsh", "-n", self.path("completion")], check=True)
            for option in options_of(name):
                self.assertIn(option, text)


class ManPages(ToolTest):
    def test_hold_every_option_and_warn_of_nothing(self):
        for name in TOOLS:
            page = run(name, "--man").stdout
            plain = page.replace("\\-", "-")
            for section in ("NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS"):
                self.assertIn(f".SH {section}\n", page)
            for option in [option for command in COMMANDS if command[0] == name for option in options_of(*command)]:
                self.assertIn(f"\\fB{option}\\fR", plain)
            if shutil.which("groff"):
                Path(self.path("page.1")).write_text(page)
                shown = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", self.path("page.1")], capture_output=True, text=True)
                self.assertEqual((shown.returncode, shown.stderr), (0, ""), name)


if __name__ == "__main__":
    unittest.main()
