#include "anchor/report/dump_match.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

std::string shape_text(const Geometry& g) {
  return fmt::format("{} tokens, {}/{} heads of dimension {}", g.kv_len, g.q_heads, g.kv_heads, g.head_dim);
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

const LayerInfo* layer_of(const ResultRow& row, const DumpReader& dump) {
  for (const LayerInfo& info : dump.layers())
    if (!row.layer || info.layer == *row.layer) return &info;
  return nullptr;
}

bool fits(const ResultRow& row, const DumpReader& dump) {
  const LayerInfo* info = layer_of(row, dump);
  if (info == nullptr) return false;
  const Geometry &a = *row.geometry, &b = info->geometry;
  return a.q_heads == b.q_heads && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim &&
         a.q_len == b.q_len && a.kv_len == b.kv_len;
}

std::string of_path(const ResultRow& row) { return row.dump_path.empty() ? "the rows" : row.dump_path; }

}  // namespace

std::vector<std::string> dump_mismatches(std::span<const ResultRow> rows, const DumpReader& dump) {
  std::vector<const ResultRow*> shaped;
  for (const ResultRow& row : rows)
    if (row.kind != "bench" && row.geometry) shaped.push_back(&row);
  if (shaped.empty() || dump.layers().empty()) return {};
  const auto other = std::ranges::find_if(shaped, [&](const ResultRow* row) { return !fits(*row, dump); });
  const std::string own = shape_text(dump.layers().front().geometry);
  std::vector<std::string> warnings;
  if (std::ranges::none_of(shaped, [&](const ResultRow* row) { return fits(*row, dump); })) {
    fail("{} and {} do not belong together: rows of {}, a dump of {}; leave one out",
         of_path(*shaped.front()), dump.path(), shape_text(*shaped.front()->geometry), own);
  }
  if (other != shaped.end()) {
    warnings.push_back(fmt::format("warning: some rows are of {} ({}), the heads that open of {} ({})",
                                   of_path(**other), shape_text(*(*other)->geometry), dump.path(), own));
  }
  const std::string& model = dump.header().model;
  const auto stranger = std::ranges::find_if(shaped, [&](const ResultRow* row) {
    return !row->model.empty() && !model.empty() && row->model != model;
  });
  if (stranger != shaped.end()) {
    warnings.push_back(fmt::format("warning: {} is of the model {}, {} of {}", of_path(**stranger),
                                   (*stranger)->model, dump.path(), model));
  }
  const bool named = std::ranges::any_of(shaped, [&](const ResultRow* row) {
    return row->dump_path.empty() || file_name(row->dump_path) == file_name(dump.path());
  });
  if (!named && stranger == shaped.end()) {
    warnings.push_back(fmt::format("warning: the rows were made from {}, the heads that open are of {}",
                                   shaped.front()->dump_path, dump.path()));
  }
  return warnings;
}

}  // namespace anchor
