#include "recall/sparsity.hpp"

#include <fmt/format.h>

#include <map>

#include "anchor/report/table.hpp"

namespace anchor::recall {
namespace {

/// A column of the table and where a row has its value.
struct Shown {
  Column column;
  std::optional<double> (*value)(const ResultRow& row);
};

const std::vector<Shown>& shown() {
  static const std::vector<Shown> all{
      {{"density", 3}, [](const ResultRow& row) { return row.density; }},
      {{"sink_share", 3, "sink"},
       [](const ResultRow& row) { return std::optional(row.sparsity->sink_share); }},
      {{"row_max.initial", 3, "max: initial"},
       [](const ResultRow& row) { return std::optional(row.sparsity->row_max.initial); }},
      {{"row_max.local", 3, "local"},
       [](const ResultRow& row) { return std::optional(row.sparsity->row_max.local); }},
      {{"row_max.elsewhere", 3, "elsewhere"},
       [](const ResultRow& row) { return std::optional(row.sparsity->row_max.elsewhere); }},
      {{"stripe_persistence", 3, "persistence"},
       [](const ResultRow& row) { return row.sparsity->stripe_persistence; }},
      {{"stripe_density", 3, "stripes"}, [](const ResultRow& row) { return row.stripe_density; }},
      {{"shared_stripe_density", 3, "shared"},
       [](const ResultRow& row) { return row.sparsity->shared_stripe_density; }}};
  return all;
}

}  // namespace

void print_sparsity(const std::vector<ResultRow>& rows) {
  std::map<int, std::map<std::string, std::pair<double, double>>> sums;  // layer, column: sum and count
  for (const ResultRow& row : rows) {
    if (!row.ok() || !row.sparsity) continue;
    for (const Shown& one : shown()) {
      const std::optional<double> value = one.value(row);
      if (!value) continue;
      auto& [sum, count] = sums[*row.layer][one.column.path];
      sum += *value;
      ++count;
    }
  }
  std::vector<Json> lines;
  for (const auto& [layer, means] : sums) {
    Json line{{"layer", layer}};
    for (const auto& [path, mean] : means) line[path] = mean.first / mean.second;
    lines.push_back(std::move(line));
  }
  std::vector<Column> columns{{"layer"}};
  for (const Shown& one : shown()) columns.push_back(one.column);
  fmt::print(
      "\nMeans over the heads; where the rows' maxima lie; stripes that the next group keeps, and their "
      "density if "
      "a KV group's heads shared one list:\n\n{}",
      markdown_table(lines, columns, 0));
}

}  // namespace anchor::recall
