#include "recall/sparsity.hpp"

#include <fmt/format.h>

#include <map>

#include "anchor/replay/sparsity_stats.hpp"
#include "anchor/report/table.hpp"

namespace anchor::recall {
namespace {

std::int64_t parameter(const Params& params, const char* name, std::int64_t otherwise) {
  return params.values().contains(name) ? params.integer(name) : otherwise;
}

}  // namespace

std::vector<Json> sparsity_json(Engine& engine, const Inputs& inputs, const Method& method,
                                const PlanRequest& request) {
  const std::int64_t block = parameter(request.params, "block", 128);
  const std::int64_t group = block * parameter(request.params, "step", 1);
  const SparsePlan plan = engine.plan(method, request, inputs, 0, inputs.geometry().q_len)->to_host();
  std::vector<Json> heads;
  for (const SparsityStats& stats : sparsity_stats(engine, inputs, plan, block, group)) {
    Json json{{"density_by_position", stats.density_by_position}};
    if (stats.stripe_persistence) json["stripe_persistence"] = *stats.stripe_persistence;
    if (stats.shared_stripe_density) json["shared_stripe_density"] = *stats.shared_stripe_density;
    json["sink_share"] = stats.sink_share;
    json["row_max"] = {{"initial", stats.row_max.initial},
                       {"local", stats.row_max.local},
                       {"elsewhere", stats.row_max.elsewhere}};
    heads.push_back(std::move(json));
  }
  return heads;
}

void print_sparsity(const std::vector<ResultRow>& rows) {
  const std::vector<Column> columns{{"layer"},
                                    {"density", 3},
                                    {"sink_share", 3, "sink"},
                                    {"row_max.initial", 3, "max: initial"},
                                    {"row_max.local", 3, "local"},
                                    {"row_max.elsewhere", 3, "elsewhere"},
                                    {"stripe_persistence", 3, "persistence"},
                                    {"stripe_density", 3, "stripes"},
                                    {"shared_stripe_density", 3, "shared"}};
  std::map<int, std::map<std::string, std::pair<double, double>>> sums;  // layer, column: sum and count
  for (const ResultRow& row : rows) {
    if (!row.ok()) continue;
    for (const Column& column : columns) {
      const Json* in_sparsity = find_field(row.sparsity, column.path);
      const std::optional<double> value =
          in_sparsity != nullptr ? number_from_json(*in_sparsity) : quantity(row, column.path);
      if (!value) continue;
      auto& [sum, count] = sums[*row.layer][column.path];
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
  fmt::print(
      "\nMeans over the heads; where the rows' maxima lie; stripes that the next group keeps, and their "
      "density if "
      "a KV group's heads shared one list:\n\n{}",
      markdown_table(lines, columns, 0));
}

}  // namespace anchor::recall
