#include "sweep/sweep.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/report/heatmap.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/terminal.hpp"
#include "sweep/choice_rows.hpp"
#include "sweep/findings.hpp"
#include "sweep/layer_rows.hpp"

namespace anchor::sweep {
namespace {

/// Curves and thresholds of all selected heads of one dump. Groups of several layers may be on their way;
/// their rows come in order. A layer's mean curve follows its heads, and from these the global knob; so
/// memory does not grow with the layers, and --resume repeats at most the layers that were on their way.
class PlainSweep {
 public:
  PlainSweep(const SweepOptions& options, const Request& request)
      : options_(options),
        request_(request),
        reader_(cli::open_dump(options.dump.path, options.dump)),
        groups_(cli::select_groups(reader_, options.dump)),
        stream_(
            cli::open_stream(options.common, check_memory(reader_, groups_, options.common.memory_limit()))),
        findings_(request.runs.size()) {}
  int run();

 private:
  void sweep_heads();
  LayerRows& layer_of(std::size_t n);
  void emit_heads(LayerRows& layer, std::size_t first, std::size_t count);
  void emit_mean(const RunRows& rows, Findings& found, bool exact);
  std::vector<std::uint64_t> heads_identity(std::size_t n) const;
  void choose();
  JointAssignment global_choice(std::size_t n);
  JointAssignment allocation_choice(std::size_t n);
  void emit_scope(std::size_t n, const AllocatedScope& scope);
  void write_thresholds();
  double note_unreached() const;
  void draw_heatmaps() const;

  const SweepOptions& options_;
  const Request& request_;
  DumpReader reader_;
  std::vector<GroupSelection> groups_;
  DumpStream stream_;
  std::vector<Findings> findings_;  ///< one per run
  std::optional<cli::RunShell> shell_;
  std::mutex layers_mutex_;
  std::map<int, std::unique_ptr<LayerRows>> layers_;  ///< on their way
  std::vector<std::uint64_t> all_content_;
  double infeasible_ = 0;  ///< scopes whose allocation misses its constraints
};

/// The layer of the n-th group, made when its first group is looked at.
LayerRows& PlainSweep::layer_of(std::size_t n) {
  const std::lock_guard lock(layers_mutex_);
  std::unique_ptr<LayerRows>& layer = layers_[groups_[n].layer];
  if (!layer) {
    std::size_t end = n;
    while (end < groups_.size() && groups_[end].layer == groups_[n].layer) ++end;
    layer = std::make_unique<LayerRows>(options_, request_, reader_, stream_.engine(),
                                        std::span(groups_).subspan(n, end - n));
  }
  return *layer;
}

void PlainSweep::sweep_heads() {
  std::vector<std::size_t> first;  // of each group, among its layer's heads
  for (std::size_t n = 0; n < groups_.size(); ++n) {
    const bool starts = n == 0 || groups_[n].layer != groups_[n - 1].layer;
    first.push_back(starts ? 0 : first.back() + groups_[n - 1].heads.size());
  }
  const std::vector<StreamItem> items = stream_items(reader_, groups_);
  stream_.run("sweep: KV group", items,
              {.wanted = [&](std::size_t n) { return !layer_of(n).finished(*shell_); },
               .compute =
                   [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
                     layer_of(n).compute(groups_[n], first[n], engine, loaded);
                   },
               .finish =
                   [&](std::size_t n) {
                     LayerRows& layer = layer_of(n);
                     const std::size_t count = groups_[n].heads.size();
                     const bool fresh = !layer.finished(*shell_);
                     if (fresh) layer.add_to_means(first[n], count);
                     emit_heads(layer, first[n], count);
                     if (n + 1 < groups_.size() && groups_[n + 1].layer == groups_[n].layer) return;
                     if (fresh) layer.finish_means();
                     for (std::size_t r = 0; r < layer.runs.size(); ++r)
                       emit_mean(layer.runs[r], findings_[r],
                                 request_.runs[r].method->granularity != nullptr);
                     for (const std::uint64_t hash : layer_content(reader_, groups_[n].layer))
                       all_content_.push_back(hash);
                     const std::lock_guard lock(layers_mutex_);
                     layers_.erase(groups_[n].layer);
                   }});
}

/// The rows of some heads of a layer, by head and run.
void PlainSweep::emit_heads(LayerRows& layer, std::size_t first, std::size_t count) {
  for (std::size_t h = first; h < first + count; ++h) {
    for (std::size_t n = 0; n < layer.runs.size(); ++n) {
      const RunRows& rows = layer.runs[n];
      const ResultRow found = shell_->emit_result(rows.heads[h]);
      if (found.ok()) {
        findings_[n].heads.push_back(ChosenHead::of(found));
        findings_[n].wins.push_back(quantity(found, "wins").value_or(0) > 0);
      }
      if (!rows.curves.empty()) {
        ResultRow curve = shell_->emit(rows.curves[h], cli::Audience::json);
        if (!request_.head.grid.empty() && found.ok()) findings_[n].grid_rows.push_back(std::move(curve));
      }
      if (!rows.row_curves.empty()) shell_->emit(rows.row_curves[h], cli::Audience::json);
      if (rows.fronts.empty()) continue;
      const ResultRow front = shell_->emit(rows.fronts[h], cli::Audience::store);
      if (found.ok()) findings_[n].fronts.push_back(curve_of(*front.curve, true).points);
    }
  }
}

void PlainSweep::emit_mean(const RunRows& rows, Findings& found, bool exact) {
  if (!rows.mean.curve && !shell_->finished(rows.mean.unit)) return;  // some head failed
  const ResultRow mean =
      shell_->emit(rows.mean, options_.curves.empty() ? cli::Audience::store : cli::Audience::json);
  found.layers.push_back(curve_of(*mean.curve, exact));
  found.layer_heads.push_back(static_cast<double>(rows.heads.size()));
}

/// The data and the heads that stand together.
std::vector<std::uint64_t> PlainSweep::heads_identity(std::size_t n) const {
  std::vector<std::uint64_t> content = all_content_;
  for (const ChosenHead& head : findings_[n].heads)
    content.push_back(static_cast<std::uint64_t>(head.layer) << 32 | static_cast<std::uint64_t>(head.head));
  return content;
}

/// One knob for all heads.
JointAssignment PlainSweep::global_choice(std::size_t n) {
  Findings& found = findings_[n];
  const KnobCurve mean = mean_curve(found.layers, found.layer_heads);
  const CurvePoint point = mean.points.point(mean.reach(request_.target.value));
  ResultRow row = layer_row(reader_, groups_[0].layer);
  stamp(row, stream_.engine(), request_.runs[n], options_.argv);
  row.kind = "sweep";
  row.scope = "all";
  row.layer.reset();
  row.target = request_.target;
  row.value = point.knob;
  row.density = point.density;
  row.mass_recall = point.mass_recall;
  std::vector<std::uint64_t> content = heads_identity(n);
  for (const double knob : request_.head.grid) content.push_back(std::bit_cast<std::uint64_t>(knob));
  content.push_back(identity_of(request_.runs));
  row.unit = unit_id(row, content);
  const Assignment& own = found.assignments[0];
  row.extra = {{"heads", static_cast<double>(found.heads.size())},
               {"heads_below_target", static_cast<double>(*own.below)},
               {"per_head_density", own.means.density},
               {"per_head_mass_recall", own.means.mass_recall}};
  if (findings_.size() > 1)
    row.extra["heads_won"] = static_cast<double>(std::ranges::count(found.wins, true));
  shell_->emit(row, cli::Audience::programs);

  JointAssignment joint{
      .run = n, .kind = "global", .assignment = {.name = "one " + request_.runs[n].method->knob}};
  for (const ChosenHead& head : found.heads)
    joint.assignment.heads.push_back({.layer = head.layer, .head = head.head, .at = {.knob = point.knob}});
  joint.assignment.means = {point.density, point.mass_recall};
  return joint;
}

JointAssignment PlainSweep::allocation_choice(std::size_t n) {
  const AllocationGoal& goal = *request_.allocate;
  const std::string& knob = request_.runs[n].method->knob;
  AllocatedHeads allocated = allocate_heads(findings_[n].heads, findings_[n].fronts, goal);
  double gap = 0;
  for (const AllocatedScope& scope : allocated.scopes) {
    emit_scope(n, scope);
    gap = std::max(gap, scope.allocation.gap(goal.density.has_value()));
    const bool floor_met = scope.worst_recall >= options_.floor.value_or(0);
    if (scope.allocation.feasible && floor_met) continue;
    ++infeasible_;
    const Target target = request_.allocation_target();
    options_.common.note(
        fmt::format("{}: no choice of {} keeps {} {}{}",
                    scope.layer ? fmt::format("layer {}", *scope.layer) : "all heads", knob, target.metric,
                    format_number(target.value),
                    floor_met ? "" : fmt::format(" with {} in every head", format_number(*options_.floor))));
  }
  JointAssignment joint{.run = n, .kind = "allocation", .assignment = {}};
  joint.assignment.name = fmt::format("{} by {}", knob, name_of(goal.scope));
  joint.assignment.heads = std::move(allocated.heads);
  joint.assignment.means = chosen_means(joint.assignment.heads);
  joint.assignment.gap = gap;
  return joint;
}

/// The row of one allocated scope.
void PlainSweep::emit_scope(std::size_t n, const AllocatedScope& scope) {
  ResultRow row = layer_row(reader_, scope.layer.value_or(groups_[0].layer));
  stamp(row, stream_.engine(), request_.runs[n], options_.argv);
  row.kind = "sweep";
  if (!scope.layer) {
    row.scope = "all";
    row.layer.reset();
  }
  row.target = request_.allocation_target();
  row.density = scope.allocation.density;
  row.mass_recall = scope.allocation.gain;
  row.extra = {{"choice", std::string("allocation")},
               {"heads", static_cast<double>(scope.heads)},
               {"optimality_gap", scope.allocation.gap(request_.allocate->density.has_value())},
               {"worst_head_mass_recall", scope.worst_recall}};
  if (options_.floor) row.extra["floor"] = *options_.floor;
  std::vector<std::uint64_t> content = heads_identity(n);
  content.push_back(std::bit_cast<std::uint64_t>(options_.floor.value_or(-1)));
  row.unit = unit_id(row, content);
  shell_->emit(row, cli::Audience::programs);
}

/// What follows from all heads together.
void PlainSweep::choose() {
  std::vector<JointAssignment> joint;
  for (std::size_t n = 0; n < findings_.size(); ++n) {
    Findings& found = findings_[n];
    found.assignments.push_back({.name = request_.runs[n].method->knob + " per head",
                                 .heads = found.heads,
                                 .means = chosen_means(found.heads),
                                 .below = heads_below(found.heads, request_.target.value),
                                 .gap = {}});
    joint.push_back(global_choice(n));
    if (request_.allocate) joint.push_back(allocation_choice(n));
    const double always = found.layers[0].points.density[0];  // at every knob, where the curve is exact
    std::string hint = cli::region_hint(always, request_.runs[n].params);
    if (hint.empty())
      hint = dense_hint(request_.runs[n], always, reader_.layer(groups_[0].layer).geometry.kv_len);
    if (!hint.empty()) options_.common.note(hint);
  }
  ChoiceRows rows(options_, request_, reader_, stream_, *shell_);
  request_.measure_joint ? rows.measure(groups_, joint) : rows.print(groups_, joint);
  for (JointAssignment& one : joint) {
    if (one.assignment.gap)
      options_.common.note(fmt::format("{}: within {:.2g} of the best possible mean {}", one.assignment.name,
                                       *one.assignment.gap, options_.budget ? "mass_recall" : "density"));
    findings_[one.run].assignments.push_back(std::move(one.assignment));
  }
}

void PlainSweep::write_thresholds() {
  const Target target = request_.allocate ? request_.allocation_target() : request_.target;
  const auto& heads = request_.allocate ? findings_[0].assignments.back().heads : findings_[0].heads;
  Thresholds made =
      make_thresholds(request_.runs[0], reader_.header().model, target, {reader_.path()}, heads);
  set_shapes(made, reader_);
  shell_->write_thresholds(thresholds_text(made));
}

/// Names the heads that cannot reach the target; how many there are.
double PlainSweep::note_unreached() const {
  double below = 0;
  for (const Findings& found : findings_) {
    for (const ChosenHead& head : found.heads) {
      if (head.at.mass_recall >= request_.target.value) continue;
      ++below;
      options_.common.note(fmt::format("layer {} head {} cannot reach mass_recall={}: at most {:.4f}",
                                       head.layer, head.head, format_number(request_.target.value),
                                       head.at.mass_recall));
    }
  }
  return below;
}

/// What each head's knob costs, on a terminal.
void PlainSweep::draw_heatmaps() const {
  const int width = std::min(cli::terminal_width(), 120);
  const std::vector<std::string> names = run_names(request_.runs);
  for (std::size_t n = 0; n < findings_.size(); ++n) {
    std::map<std::pair<int, int>, double> values;
    for (const ChosenHead& head : findings_[n].heads) values[{head.layer, head.head}] = head.at.density;
    Heatmap map;
    map.title = cli::one_line(fmt::format("density at each head's own {} ({})", request_.runs[n].method->knob,
                                          findings_.size() > 1 ? names[n] : reader_.header().model),
                              width);
    map.set_values(values);
    map.scale_to_values();
    fmt::print("\n{}", terminal_heatmap(map, cli::terminal_colors(), width));
  }
  std::fflush(stdout);
}

int PlainSweep::run() {
  std::vector<Column> eye{{"dump.layer", -1, "layer"}, {"dump.head", -1, "head"}};
  if (request_.runs.size() > 1) {
    eye.push_back({"method"});
    for (const char* name : {"params.block", "params.step"}) eye.push_back({name, -1, name + 7});
  }
  for (const Column& column :
       {Column{"value", 4, request_.runs.size() > 1 ? "knob" : request_.runs[0].method->knob},
        Column{"density", 4}, Column{"mass_recall", 4}, Column{"status"}, Column{"mass_recall_p05", 4},
        Column{"out_rel_l2", 4}}) {
    eye.push_back(column);
  }
  const std::vector<Column> all{{"kind"},
                                {"scope"},
                                {"dump.layer"},
                                {"dump.head"},
                                {"choice"},
                                {"status"},
                                {"error"},
                                {"method"},
                                {"params.block"},
                                {"params.step"},
                                {"target.value"},
                                {"value"},
                                {"density"},
                                {"work_density"},
                                {"mass_recall"},
                                {"mass_recall_p05"},
                                {"mass_recall_min"},
                                {"out_rel_l2"},
                                {"wins"},
                                {"path"},
                                {"plan_path"},
                                {"unit"}};
  shell_.emplace(options_.common, eye, all, options_.thresholds_out);
  shell_->output().shorten({"density", cli::Selection::Order::most, "that need most"});
  shell_->run([&] {
    sweep_heads();
    if (shell_->failed() == 0) choose();
  });
  shell_->finish();
  if (!options_.thresholds_out.empty() && shell_->failed() == 0) write_thresholds();
  if (!options_.thresholds_out.empty() && shell_->failed() > 0)
    options_.common.note(fmt::format("{} is not written: some heads failed", options_.thresholds_out));
  if (shell_->markdown() && shell_->failed() == 0) {
    print_summary(request_, findings_);
    if (cli::stdout_is_terminal()) draw_heatmaps();
  }
  const double below = request_.allocate ? infeasible_ : note_unreached();
  return shell_->exit_code(below > 0 ? 4 : 0);
}

}  // namespace

int run_sweep(const SweepOptions& options) {
  const Request request = request_of(options);
  return PlainSweep(options, request).run();
}

}  // namespace anchor::sweep
