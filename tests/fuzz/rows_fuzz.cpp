// Result rows (jsonl).
#include <span>

#include "anchor/rows/compare_runs.hpp"
#include "anchor/rows/json.hpp"
#include "anchor/rows/read_rows.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::MemoryFile file;
  file.write(test::text_of(data, size));
  std::vector<ResultRow> rows;
  if (!test::accepted([&] { rows = read_rows(file.path()); })) return 0;
  for (const ResultRow& row : rows) {
    const std::string text = json_text(to_json(row));
    const auto json = parse_row(text);
    test::demand(json.has_value(), "a row that was read is written as a row");
    test::demand(json_text(to_json(row_from_json(*json, "again"))) == text,
                 "a row is read back as it was written");
    unit_id(row, {});
  }
  compare_runs(rows, rows);
  return 0;
}
