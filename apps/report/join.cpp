#include "report/join.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

namespace anchor::report {
namespace {

std::string name_of(const std::string& path) { return std::filesystem::path(path).filename().string(); }

/// Dumps move with their name.
bool of_dump(const ResultRow& row, const std::string& dump) {
  return !row.dump_path.empty() && name_of(row.dump_path) == name_of(dump);
}

std::string shape_text(const Geometry& g) {
  return fmt::format("{}/{} heads of dimension {}, {} queries from position {} and {} keys", g.q_heads,
                     g.kv_heads, g.head_dim, g.q_len, g.q_start, g.kv_len);
}

bool same_shape(const Geometry& a, const Geometry& b) {
  return a.q_heads == b.q_heads && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim &&
         a.q_len == b.q_len && a.kv_len == b.kv_len && a.q_start == b.q_start;
}

std::string quoted(const std::string& model) { return model.empty() ? "a model without a name" : model; }

/// The row's parameters are the run's, apart from the knob.
bool of_run(const ResultRow& row, const MethodRun& run) {
  if (row.method != run.method->name) return false;
  for (const auto& [name, value] : run.params.values()) {
    if (name == run.method->knob) continue;
    const auto found = row.params.find(name);
    if (found != row.params.end() && found->second != value) return false;
  }
  return true;
}

std::optional<double> knob_of(const ResultRow& row, const MethodRun& run) {
  const auto found = row.params.find(run.method->knob);
  if (found == row.params.end()) return {};
  if (const double* knob = std::get_if<double>(&found->second)) return *knob;
  const std::string text = scalar_text(found->second);  // infinities are words
  return text == "inf" ? std::optional(HUGE_VAL) : text == "-inf" ? std::optional(-HUGE_VAL) : std::nullopt;
}

std::string fitted(const ResultRow& row) {
  return row.target ? fmt::format("fitted for {} {}", row.target->metric, format_number(row.target->value))
                    : "fitted";
}

}  // namespace

std::vector<std::string> check_join(const std::vector<FileRow>& rows, const DumpReader& reader) {
  const bool any = std::any_of(rows.begin(), rows.end(),
                               [&](const FileRow& one) { return of_dump(one.row, reader.path()); });
  std::vector<std::string> warnings;
  std::set<std::string> told;
  for (const auto& [file, row] : rows) {
    if (row.dump_path.empty() || !row.layer || (any && !of_dump(row, reader.path()))) continue;
    const auto layer = std::find_if(reader.layers().begin(), reader.layers().end(),
                                    [&](const LayerInfo& info) { return info.layer == *row.layer; });
    const bool there = layer != reader.layers().end();
    if (there && row.geometry && !same_shape(*row.geometry, layer->geometry)) {
      fail(
          "{} has rows of {} ({}: {}), which is not {} ({}: {}): give the dump that the rows came from, or "
          "make a page "
          "of each",
          file, row.dump_path, quoted(row.model), shape_text(*row.geometry), reader.path(),
          quoted(reader.header().model), shape_text(layer->geometry));
    }
    if (!told.insert(file + "\n" + row.dump_path + "\n" + row.model).second) continue;
    if (row.model != reader.header().model) {
      warnings.push_back(
          fmt::format("{} has rows of {} ({}); the heads shown beside them are those of {} ({})", file,
                      quoted(row.model), row.dump_path, quoted(reader.header().model), reader.path()));
    } else if (!of_dump(row, reader.path())) {
      warnings.push_back(fmt::format("{} has rows of {}; the heads shown beside them are those of {}", file,
                                     row.dump_path, reader.path()));
    }
  }
  return warnings;
}

KnobMarks marks_of(const std::vector<FileRow>& rows, const MethodRun& run, const DumpReader& reader) {
  KnobMarks marks;
  if (run.method->knob.empty()) return marks;
  for (const auto& [file, row] : rows) {
    if (!row.ok() || !of_dump(row, reader.path()) || !of_run(row, run)) continue;
    const bool head = row.scope == "head" && row.layer && row.head;
    if (row.kind == "recall" && head) {
      if (const auto knob = knob_of(row, run))
        marks.add(*row.layer, *row.head, *knob, "of the run of anchor-recall");
    } else if (row.kind == "sweep" && row.value && !row.extra.contains("choice")) {
      if (head) marks.add(*row.layer, *row.head, *row.value, fitted(row));
    }
    if (row.kind == "sweep" && row.value && row.scope == "all")
      marks.add_for_all(*row.value, fitted(row) + ", one for all heads");
  }
  return marks;
}

std::vector<std::string> check_values(const std::vector<FileRow>& rows, const MethodRun& run,
                                      const HeadViews& views) {
  constexpr double tolerance = 2e-3;  // devices may differ in a few entries of a plan
  std::map<std::pair<int, int>, const HeadView*> view_of;
  for (const HeadView& head : views.heads)
    if (head.error.empty()) view_of[{head.layer, head.head}] = &head;
  std::vector<std::string> warnings;
  std::set<std::string> told;
  for (const auto& [file, row] : rows) {
    if (!row.ok() || row.kind != "recall" || row.scope != "head" || !row.layer || !row.head ||
        !of_run(row, run) || !of_dump(row, views.path) || !row.density || !row.mass_recall ||
        told.contains(file))
      continue;
    const auto found = view_of.find({*row.layer, *row.head});
    if (found == view_of.end()) continue;
    const HeadView& head = *found->second;
    std::size_t stop = 0;
    if (run.method->granularity) {
      const auto knob = knob_of(row, run);
      const std::vector<double> stops = views.stops_of(head);
      const auto at = knob ? std::find(stops.begin(), stops.end(), *knob) : stops.end();
      if (at == stops.end()) continue;
      stop = static_cast<std::size_t>(at - stops.begin());
    } else if (knob_of(row, run) != (run.method->knob.empty()
                                         ? std::optional<double>()
                                         : std::optional(run.params.real(run.method->knob)))) {
      continue;
    }
    if (std::abs(head.density[stop] - *row.density) < tolerance &&
        std::abs(head.mass_recall[stop] - *row.mass_recall) < tolerance)
      continue;
    told.insert(file);
    warnings.push_back(
        fmt::format("{} and {} do not agree: of layer {} head {} the rows say mass_recall {:.4f} at density "
                    "{:.4f}, the dump gives "
                    "{:.4f} at {:.4f}; the rows are of another text",
                    file, views.path, *row.layer, *row.head, *row.mass_recall, *row.density,
                    head.mass_recall[stop], head.density[stop]));
  }
  return warnings;
}

}  // namespace anchor::report
