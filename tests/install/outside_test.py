"""What `cmake --install` makes: outside projects build against it, tools run from it, and headers ask for no more than they say."""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ["ANCHOR_BUILD"])
DUMP = ROOT / "data/smollm2.h5"
CORE = ("base", "plan", "attention", "mass", "method", "metrics")
# What libanchor and the tools may need of a machine: the C and C++ run-time libraries, which every Linux system has.
NEEDED = {"libanchor.so.0.2", "libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="anchor_install_")
        cls.addClassCleanup(cls.folder.cleanup)
        first = pathlib.Path(cls.folder.name) / "first"
        run("cmake", "--install", BUILD, "--prefix", first)
        cls.prefix = first.rename(first.with_name("moved"))  # an installed tree works wherever it lies
        cls.lib = next(path.parent for path in cls.prefix.rglob("libanchor.so"))

    def test_an_outside_project_replays_a_group(self):
        build = pathlib.Path(self.folder.name) / "outside"
        run("cmake", "-S", ROOT / "examples", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", build)
        cpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        for theta in ("0", "4"):
            printed = re.findall(r"mass_recall (\S+) at density (\S+)", run(build / "replay_one_group", DUMP, theta, env=cpu))
            rows = [json.loads(line) for line in run(self.prefix / "bin/anchor-recall", DUMP, "--step", "1", "--theta", theta, "--device", "cpu").splitlines()]
            heads = [(row["mass_recall"], row["density"]) for row in rows if row["scope"] == "head"]
            self.assertEqual(len(printed), 3)
            self.assertEqual(printed, [(f"{recall:.6f}", f"{density:.6f}") for recall, density in heads])
            self.assertTrue(all(0.3 < recall < 0.999 for recall, _ in heads), heads)
        failed = subprocess.run([build / "replay_one_group", "nothing.h5"], capture_output=True, text=True)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("replay_one_group: cannot open nothing.h5", failed.stderr)

    def test_every_public_header_stands_alone(self):
        """And those of core include neither HDF5 nor JSON nor any third-party header but fmt's."""
        include = self.prefix / "include"
        headers = sorted(path.relative_to(include) for path in include.rglob("*.hpp"))
        self.assertGreater(len(headers), 60)

        def included(header):
            return run("c++", "-std=c++20", "-fsyntax-only", "-MD", "-MF", "/dev/stdout", "-x", "c++", "-DFMT_HEADER_ONLY=1", f"-I{include}", include / header)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for header, text in zip(headers, pool.map(included, headers)):
                files = {pathlib.Path(path) for path in text.split() if path.startswith("/")}
                folders, names = {part for path in files for part in path.parts}, {path.name for path in files}
                self.assertIn(header.name, names)
                self.assertEqual(names & {"hdf5.h", "pcre2.h", "utf8proc.h", "xxhash.h", "cuda_runtime.h", "cuda_runtime_api.h"}, set(), header)
                self.assertNotIn("Eigen", folders, header)
                if header.parts[1] in CORE:
                    self.assertNotIn("nlohmann", folders, header)
                    inside = {path.relative_to(include).parts[1] for path in files if path.is_relative_to(include)}
                    self.assertLessEqual(inside, set(CORE), f"{header} includes headers of other components")

    def test_it_needs_only_the_run_time_libraries(self):
        for path in (self.lib / "libanchor.so", *sorted((self.prefix / "bin").iterdir())):
            needed = set(re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", run("readelf", "-d", path)))
            self.assertLessEqual(needed, NEEDED, path)
        symbols = run("nm", "-D", "--defined-only", "--format=just-symbols", self.lib / "libanchor.so").split()
        self.assertTrue(any("DumpReader" in symbol for symbol in symbols))
        self.assertEqual([s for s in symbols if re.match(r"_*(H5|pcre2_|utf8proc_|XXH|inflate|deflate|aec_|cuda[A-Z])", s)], [])

    def test_it_holds_what_people_look_for(self):
        names = {str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*")}
        for tool in ("anchor-bench", "anchor-dump", "anchor-recall", "anchor-report", "anchor-sweep"):
            wanted = {f"bin/{tool}", f"share/man/man1/{tool}.1", f"share/bash-completion/completions/{tool}",
                      f"share/zsh/site-functions/_{tool}", f"share/fish/vendor_completions.d/{tool}.fish"}
            self.assertLessEqual(wanted, names)
            self.assertIn("0.2.0", run(self.prefix / "bin" / tool, "--version"))
        self.assertIn("share/anchor/methods/anchor.toml", names)
        self.assertFalse([name for name in names if name.endswith(".cpp") or "/cuda/" in name])
        if os.environ["ANCHOR_BUILD_TYPE"] == "Release":
            size = sum(path.stat().st_size for path in self.prefix.rglob("*") if path.is_file() and not path.is_symlink())
            self.assertLess(size, 90e6)


if __name__ == "__main__":
    unittest.main()
