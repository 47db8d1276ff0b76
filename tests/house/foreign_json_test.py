"""JSON that others wrote is parsed in one place and read through JsonFields, and all JSON is written by one function.

`json["key"]` on what a file holds inserts, or throws a message that no user understands; a parse without limits lets a file
choose how deep the stack goes; a dump throws at names that are not UTF-8."""
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).parents[2]
# Where JSON may be parsed: rows/json.cpp, which counts the depth first; formats below rows/ have readers of their own, which take
# every field with its type (model/rope.cpp parses what it wrote).
PARSES = {"lib/anchor/rows/json.cpp", "lib/anchor/method/shareprefill.cpp", "lib/anchor/data/safetensors.cpp",
          "lib/anchor/model/hf_folder.cpp", "lib/anchor/model/rope.cpp", "lib/anchor/data/layer_rotation.cpp"}
# The typed readers of a model's folder.
MODEL_READERS = {"lib/anchor/model/hf_config.cpp", "lib/anchor/model/hf_tokenizer.cpp"}
# Where JSON becomes text: rows/json.cpp; pages escape all that is not ASCII; the others write names and numbers of their own.
DUMPS = {"lib/anchor/rows/json.cpp", "lib/anchor/report/html_report.cpp", "lib/anchor/model/gguf_config.cpp", "lib/anchor/model/rope.cpp",
         "lib/anchor/model/hf_folder.cpp", "lib/anchor/model/hf_config.cpp", "lib/anchor/model/hf_tokenizer.cpp",
         "lib/anchor/data/safetensors.cpp", "lib/anchor/data/synthetic.cpp", "apps/dump/synthetic.cpp"}
READER = re.compile(r"\bJsonFields\b|\bparse_json\(|\bparse_row\(")
INDEXED = re.compile(r"\w[\])]*\[\s*\"[^\"]*\"\s*\]")


def sources():
    for top in ("lib", "apps"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".cpp", ".hpp", ".cu"):
                yield path.relative_to(ROOT).as_posix(), re.sub(r"//[^\n]*", "", path.read_text())


class ForeignJson(unittest.TestCase):
    def test_json_is_parsed_in_one_place(self):
        found = {path for path, text in sources() if re.search(r"[Jj]son(?:_t)?::(?:parse|accept|sax_parse)\(|>>\s*json\b", text)}
        self.assertEqual(found - PARSES, set())
        self.assertIn("lib/anchor/rows/json.cpp", found)

    def test_json_is_written_in_one_place(self):
        found = {path for path, text in sources() if "nlohmann" in text or "Json" in text or "json" in text
                 if re.search(r"(?<!_)\bdump\((?:-?\d|\)|indent)|\.dump\(\)", text)}
        self.assertEqual(found - DUMPS, set())

    def test_readers_do_not_index_json(self):
        seen = 0
        for path, text in sources():
            if not READER.search(text) or path.endswith("result_row.cpp"):  # which writes rows
                continue
            seen += 1
            self.assertEqual(INDEXED.findall(text), [], path)
        self.assertGreater(seen, 4)

    def test_only_readers_take_values_out_of_json(self):
        """get<>() of a wrong type throws: JsonFields looks first."""
        allowed = {"lib/anchor/rows/json_fields.cpp", "lib/anchor/rows/result_row.cpp", "lib/anchor/rows/row_from_json.cpp", "lib/anchor/report/table.cpp",
                   "lib/anchor/report/html_report.cpp", "lib/anchor/report/private_paths.cpp",
                   "lib/anchor/eval/task.cpp", "lib/anchor/model/gguf_config.cpp"} | PARSES | MODEL_READERS  # GGUF's get<>()
        found = {path for path, text in sources() if re.search(r"\.get(?:_ref)?<(?:const )?(?:std::string|double|bool|int|std::u?int64_t)", text)
                 and ("Json" in text or "nlohmann" in text)}
        self.assertEqual(found - allowed, set())


if __name__ == "__main__":
    unittest.main()
