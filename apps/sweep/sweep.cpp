#include "sweep/sweep.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/report/heatmap.hpp"
#include "anchor/tuning/allocation.hpp"
#include "cli/terminal.hpp"
#include "sweep/choices.hpp"
#include "sweep/findings.hpp"
#include "sweep/layer_sweep.hpp"

namespace anchor::sweep {
namespace {

/// Curves and thresholds of all selected heads of one dump. Groups of several layers may be on their way;
/// their rows come in order. A layer's mean curve follows its heads, and from these the global knob; so
/// memory does not grow with the layers, and --resume repeats at most the layers that were on their way.
class Job {
 public:
  Job(const Options& options, const Request& request)
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
  LayerSweep& layer_of(std::size_t n);
  void emit_heads(LayerSweep& layer, std::size_t first, std::size_t count);
  void emit_mean(const LayerRows& rows, Findings& found, bool exact);
  void choose();
  JointChoice global_choice(std::size_t n);
  JointChoice allocation_choice(std::size_t n);
  void write_thresholds() const;
  double note_unreached() const;
  void draw_heatmaps() const;

  const Options& options_;
  const Request& request_;
  DumpReader reader_;
  std::vector<GroupSelection> groups_;
  DumpStream stream_;
  std::vector<Findings> findings_;  ///< one per run
  std::optional<cli::RunShell> shell_;
  std::mutex layers_mutex_;
  std::map<int, std::unique_ptr<LayerSweep>> layers_;  ///< on their way
  std::vector<std::uint64_t> all_content_;
  double infeasible_ = 0;  ///< scopes whose allocation misses its constraints
};

/// The layer of the n-th group, made when its first group is looked at.
LayerSweep& Job::layer_of(std::size_t n) {
  const std::lock_guard lock(layers_mutex_);
  std::unique_ptr<LayerSweep>& layer = layers_[groups_[n].layer];
  if (!layer) {
    std::size_t end = n;
    while (end < groups_.size() && groups_[end].layer == groups_[n].layer) ++end;
    layer = std::make_unique<LayerSweep>(options_, request_, reader_, stream_.engine(),
                                         std::span(groups_).subspan(n, end - n));
  }
  return *layer;
}

void Job::sweep_heads() {
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
                     LayerSweep& layer = layer_of(n);
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
void Job::emit_heads(LayerSweep& layer, std::size_t first, std::size_t count) {
  for (std::size_t h = first; h < first + count; ++h) {
    for (std::size_t n = 0; n < layer.runs.size(); ++n) {
      const LayerRows& rows = layer.runs[n];
      const ResultRow found = shell_->emit_result(rows.heads[h]);
      if (found.ok()) findings_[n].heads.push_back(HeadPoint::of(found));
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

void Job::emit_mean(const LayerRows& rows, Findings& found, bool exact) {
  if (!rows.mean.curve && !shell_->finished(rows.mean.unit)) return;  // some head failed
  const ResultRow mean =
      shell_->emit(rows.mean, options_.curves.empty() ? cli::Audience::store : cli::Audience::json);
  found.layers.push_back(curve_of(*mean.curve, exact));
  found.layer_heads.push_back(static_cast<double>(rows.heads.size()));
}

/// One knob for all heads.
JointChoice Job::global_choice(std::size_t n) {
  Findings& found = findings_[n];
  const KnobCurve mean = mean_curve(found.layers, found.layer_heads);
  const std::size_t at = mean.least(request_.target.value).value_or(mean.densest());
  const CurvePoint point = mean.points.point(at);
  ResultRow row = layer_row(reader_, stream_.engine(), options_, request_.runs[n], groups_[0].layer);
  row.kind = "sweep";
  row.scope = "all";
  row.layer.reset();
  row.target = request_.target;
  row.value = point.knob;
  row.density = point.density;
  row.mass_recall = point.mass_recall;
  std::vector<std::uint64_t> content = all_content_;
  for (const double heads : found.layer_heads) content.push_back(static_cast<std::uint64_t>(heads));
  for (const double knob : request_.head.grid) content.push_back(std::bit_cast<std::uint64_t>(knob));
  row.unit = unit_id(row, content);
  const Choice& own = found.choices[0];
  row.extra = {{"heads", static_cast<double>(found.heads.size())},
               {"heads_below_target", *own.below},
               {"per_head_density", own.density},
               {"per_head_mass_recall", own.recall}};
  if (findings_.size() > 1) {
    row.extra["heads_won"] = static_cast<double>(std::count_if(
        found.heads.begin(), found.heads.end(), [](const HeadPoint& head) { return head.wins; }));
  }
  shell_->emit(row, cli::Audience::programs);

  JointChoice joint{.run = n, .kind = "global", .choice = {.name = "one " + request_.runs[n].method->knob}};
  for (const HeadPoint& head : found.heads)
    joint.choice.heads.push_back({.layer = head.layer, .head = head.head, .value = point.knob});
  joint.choice.density = point.density;
  joint.choice.recall = point.mass_recall;
  return joint;
}

JointChoice Job::allocation_choice(std::size_t n) {
  JointChoice joint{
      .run = n,
      .kind = "allocation",
      .choice = {.name = fmt::format("{} by {}", request_.runs[n].method->knob, options_.allocate)}};
  double gap = 0;
  for (const AllocatedScope& scope : allocate(options_, request_, findings_[n], joint.choice)) {
    ResultRow row = layer_row(reader_, stream_.engine(), options_, request_.runs[n],
                              scope.layer.value_or(groups_[0].layer));
    row.kind = "sweep";
    if (!scope.layer) {
      row.scope = "all";
      row.layer.reset();
    }
    const std::string statistic = "mean over the " + options_.allocate;
    row.target = options_.budget ? Target{"density", statistic, *options_.budget}
                                 : Target{"mass_recall", statistic, request_.target.value};
    row.density = scope.allocation.density;
    row.mass_recall = scope.allocation.mass_recall;
    const double own_gap = scope.allocation.gap(options_.budget.has_value());
    row.extra = {{"choice", std::string("allocation")},
                 {"heads", scope.heads},
                 {"optimality_gap", own_gap},
                 {"worst_head_mass_recall", scope.worst_recall}};
    if (options_.floor) row.extra["floor"] = *options_.floor;
    std::vector<std::uint64_t> content = all_content_;
    content.push_back(std::bit_cast<std::uint64_t>(options_.floor.value_or(0)));
    for (const HeadPoint& head : findings_[n].heads) content.push_back(static_cast<std::uint64_t>(head.head));
    row.unit = unit_id(row, content);
    shell_->emit(row, cli::Audience::programs);
    gap = std::max(gap, own_gap);
    const bool floor_met = scope.worst_recall >= options_.floor.value_or(0);
    if (scope.allocation.feasible && floor_met) continue;
    ++infeasible_;
    options_.common.note(
        fmt::format("{}: no choice of {} keeps {} {}{}",
                    scope.layer ? fmt::format("layer {}", *scope.layer) : "all heads",
                    request_.runs[n].method->knob, row.target->metric, format_number(row.target->value),
                    floor_met ? "" : fmt::format(" with {} in every head", format_number(*options_.floor))));
  }
  joint.choice.gap = gap;
  return joint;
}

/// What follows from all heads together.
void Job::choose() {
  std::vector<JointChoice> joint;
  for (std::size_t n = 0; n < findings_.size(); ++n) {
    Findings& found = findings_[n];
    Choice own{.name = request_.runs[n].method->knob + " per head", .heads = found.heads};
    own.take_means();
    own.below =
        static_cast<double>(std::count_if(own.heads.begin(), own.heads.end(), [&](const HeadPoint& head) {
          return head.recall < request_.target.value;
        }));
    found.choices.push_back(std::move(own));
    joint.push_back(global_choice(n));
    if (!options_.allocate.empty()) joint.push_back(allocation_choice(n));
    const std::string hint = cli::region_hint(found.layers[0].points.density[0], request_.runs[n].params);
    if (!hint.empty()) options_.common.note(hint);
  }
  ChoiceRows rows(options_, request_, reader_, stream_, *shell_);
  options_.measure == "all" ? rows.measure(groups_, joint) : rows.print(groups_, joint);
  for (JointChoice& one : joint) {
    if (one.choice.gap)
      options_.common.note(fmt::format("{}: within {:.2g} of the best possible mean {}", one.choice.name,
                                       *one.choice.gap, options_.budget ? "mass_recall" : "density"));
    findings_[one.run].choices.push_back(std::move(one.choice));
  }
}

void Job::write_thresholds() const {
  const MethodRun& run = request_.runs[0];
  Target target = request_.target;
  const bool allocated = !options_.allocate.empty();
  if (allocated) target.statistic = "mean over the " + options_.allocate;
  if (options_.budget) target = {"density", target.statistic, *options_.budget};
  const auto& heads = allocated ? findings_[0].choices.back().heads : findings_[0].heads;
  const Thresholds made = thresholds_of(run, reader_, target, {reader_.path()}, heads);
  write_text_file(options_.thresholds_out, thresholds_text(made));
}

/// Names the heads that cannot reach the target; how many there are.
double Job::note_unreached() const {
  double below = 0;
  for (const Findings& found : findings_) {
    for (const HeadPoint& head : found.heads) {
      if (head.recall >= request_.target.value) continue;
      ++below;
      options_.common.note(fmt::format("layer {} head {} cannot reach mass_recall={}: at most {:.4f}",
                                       head.layer, head.head, format_number(request_.target.value),
                                       head.recall));
    }
  }
  return below;
}

/// What each head's knob costs, on a terminal.
void Job::draw_heatmaps() const {
  const int width = std::min(cli::terminal_width(), 120);
  const std::vector<std::string> names = run_names(request_.runs);
  for (std::size_t n = 0; n < findings_.size(); ++n) {
    std::map<std::pair<int, int>, double> values;
    for (const HeadPoint& head : findings_[n].heads) values[{head.layer, head.head}] = head.density;
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

int Job::run() {
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
  const double below = options_.allocate.empty() ? note_unreached() : infeasible_;
  return shell_->exit_code(below > 0 ? 4 : 0);
}

}  // namespace

int run_sweep(const Options& options, const Request& request) { return Job(options, request).run(); }

}  // namespace anchor::sweep
