#include "recall/front_rows.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/number.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "cli/dump_stream.hpp"
#include "cli/terminal.hpp"

namespace anchor::recall {
namespace {

void fill(ResultRow& row, const HeadMeans& means) {
  row.density = means.density;
  row.mass_recall = means.mass_recall;
  row.work_density = means.work_density;
  row.out_rel_l2 = means.out_rel_l2;
}

}  // namespace

FrontRows::FrontRows(const Options& options, const DumpReader& reader, const Engine& engine,
                     std::vector<GroupSelection> groups)
    : options_(options), reader_(reader), engine_(engine), groups_(std::move(groups)) {}

ResultRow FrontRows::row_of(const MethodFront& front, const char* kind) const {
  ResultRow row = layer_row(reader_, groups_[0].layer);
  row.kind = kind;
  row.scope = "all";
  row.layer.reset();
  stamp(row, engine_, front.run(), options_.argv);
  row.plan_path = front.plan_path();
  return row;
}

/// What tells the selected heads of this dump from others, for unit_id().
void FrontRows::identify(ResultRow& row, std::vector<std::uint64_t> content) const {
  for (const GroupSelection& group : groups_) {
    for (const std::uint64_t hash : layer_content(reader_, group.layer)) content.push_back(hash);
    for (const int head : group.heads) content.push_back(static_cast<std::uint64_t>(head));
  }
  row.unit = unit_id(row, content);
}

ResultRow FrontRows::curve(const MethodFront& front) const {
  ResultRow row = row_of(front, "curve");
  identify(row, {});
  if (!front.error().empty()) {
    row.fail(front.error());
    return row;
  }
  const Curve curve = front.exact() ? thin(front.mean_curve()) : front.mean_curve();
  row.curve = CurvePoints{curve.knob, curve.density, curve.mass_recall};
  row.extra["curve_is"] = std::string(front.exact() ? "exact" : "replayed");
  return row;
}

ResultRow FrontRows::answer_row(const MethodFront& front, KnobsBy by, const Target& target,
                                const std::optional<HeadsAt>& chosen, std::optional<int> layer) const {
  ResultRow row = row_of(front, "sweep");
  if (layer) {
    row.scope = "layer";
    row.layer = layer;
  }
  row.target = target;
  if (by == KnobsBy::allocation) row.target->statistic = "mean over the model";
  row.extra["choice"] = std::string(name_of(by));
  if (chosen) row.value = chosen->knob;
  identify(row, {static_cast<std::uint64_t>(by), front.measures()});
  return row;
}

std::vector<ResultRow> FrontRows::answer(const MethodFront& front, KnobsBy by, const Target& target,
                                         const std::optional<HeadsAt>& chosen) const {
  std::vector<ResultRow> rows{answer_row(front, by, target, chosen, {})};
  if (!chosen) {
    rows[0].status = "skipped";
    rows[0].error =
        fmt::format("no knob reaches a mean {} of {}", target.metric, format_number(target.value));
    return rows;
  }
  std::map<int, std::vector<std::size_t>> layers;
  std::vector<std::size_t> all(front.heads().size());
  for (std::size_t h = 0; h < all.size(); ++h) {
    all[h] = h;
    layers[front.layers()[h]].push_back(h);
  }
  const HeadMeans means = HeadMeans::of(chosen->heads, all, target);
  fill(rows[0], means);
  double worst = -1;
  int worst_layer = 0;
  for (const auto& [layer, heads] : layers) {
    const HeadMeans own = HeadMeans::of(chosen->heads, heads, target);
    rows.push_back(answer_row(front, by, target, chosen, layer));
    fill(rows.back(), own);
    rows.back().extra["heads"] = static_cast<double>(heads.size());
    if (own.loss(target) <= worst) continue;
    worst = own.loss(target);
    worst_layer = layer;
  }
  ScalarMap& extra = rows[0].extra;
  extra["heads"] = static_cast<double>(all.size());
  extra["worst_head_layer"] = static_cast<double>(front.layers()[means.worst_head]);
  extra["worst_head"] = static_cast<double>(front.heads()[means.worst_head]);
  extra["worst_head_" + target.metric] = metric_of_loss(target, means.worst_loss);
  extra["worst_layer"] = static_cast<double>(worst_layer);
  extra["worst_layer_" + target.metric] = metric_of_loss(target, worst);
  if (by == KnobsBy::allocation) extra["optimality_gap"] = chosen->gap;
  if (by == KnobsBy::heads) {
    extra["heads_below_target"] = static_cast<double>(
        std::count_if(chosen->heads.begin(), chosen->heads.end(),
                      [&](const HeadAt& head) { return loss(target, head) > limit(target); }));
  }
  return rows;
}

std::vector<Column> FrontRows::columns() {
  std::vector<Column> all;
  for (const char* name : {"kind",
                           "scope",
                           "dump.layer",
                           "status",
                           "error",
                           "method",
                           "params.block",
                           "params.step",
                           "choice",
                           "target.metric",
                           "target.value",
                           "value",
                           "density",
                           "work_density",
                           "mass_recall",
                           "out_rel_l2",
                           "worst_head_layer",
                           "worst_head",
                           "worst_head_mass_recall",
                           "worst_head_out_rel_l2",
                           "worst_layer",
                           "worst_layer_mass_recall",
                           "worst_layer_out_rel_l2",
                           "heads_below_target",
                           "optimality_gap",
                           "curve_is",
                           "path",
                           "plan_path",
                           "unit"}) {
    all.push_back({name});
  }
  return all;
}

namespace {

std::string densities(const FrontAnswer& line) {
  const auto density = quantity(line.row, "density"), work = quantity(line.row, "work_density");
  if (!density) return "-";
  return work ? fmt::format("{:.3f} / {:.3f}", *density, *work) : fmt::format("{:.3f}", *density);
}

std::string worst_head(const FrontAnswer& line) {
  const auto value = quantity(line.row, "worst_head_" + line.target.metric);
  if (!value) return "-";
  return fmt::format("{:.3f} ({:.0f}:{:.0f})", *value, *quantity(line.row, "worst_head_layer"),
                     *quantity(line.row, "worst_head"));
}

std::string worst_layer(const FrontAnswer& line) {
  const auto value = quantity(line.row, "worst_layer_" + line.target.metric);
  return value ? fmt::format("{:.3f} ({:.0f})", *value, *quantity(line.row, "worst_layer")) : "-";
}

template <class Cell>
void print_table(const std::string& title, const std::vector<FrontAnswer>& lines, KnobsBy by,
                 const std::string& metric, Cell cell) {
  std::vector<Column> columns{{metric}};
  std::vector<Json> table;
  for (const FrontAnswer& line : lines) {
    if (line.by != by || line.target.metric != metric) continue;
    const std::string target = format_number(line.target.value);
    if (table.empty() || table.back()[metric] != line.name) table.push_back({{metric, line.name}});
    table.back()[target] = cell(line);
    const bool known = std::any_of(columns.begin(), columns.end(),
                                   [&](const Column& column) { return column.path == target; });
    if (!known) columns.push_back({target});
  }
  if (table.empty()) return;
  fmt::print("\n{}:\n\n{}", title,
             markdown_table(table, columns, static_cast<std::size_t>(cli::terminal_width())));
}

}  // namespace

void print_fronts(const std::vector<FrontAnswer>& lines) {
  const std::string recall = "mass_recall", error = "out_rel_l2";
  fmt::print("density / work_density for a mean over heads of ...\n");
  print_table("one knob for all heads", lines, KnobsBy::global, recall, densities);
  print_table("a knob per head", lines, KnobsBy::heads, recall, densities);
  print_table("recall allocated over the heads", lines, KnobsBy::allocation, recall, densities);
  print_table("one knob for all heads", lines, KnobsBy::global, error, densities);
  print_table("a knob per head", lines, KnobsBy::heads, error, densities);
  fmt::print("\nand what the mean hides: the worst head (layer:head), the worst layer\n");
  for (const KnobsBy by : {KnobsBy::global, KnobsBy::allocation}) {
    const std::string which = by == KnobsBy::global ? "one knob for all heads" : "recall allocated";
    for (const std::string& metric : {recall, error}) {
      print_table("worst head, " + which, lines, by, metric, worst_head);
      print_table("worst layer, " + which, lines, by, metric, worst_layer);
    }
  }
  std::fflush(stdout);
}

}  // namespace anchor::recall
