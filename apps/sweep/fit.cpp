#include <algorithm>
#include <bit>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/tuning/allocation.hpp"
#include "anchor/tuning/bounded_error.hpp"
#include "anchor/tuning/error_curve.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "sweep/error_front.hpp"
#include "sweep/findings.hpp"
#include "sweep/fit_set.hpp"
#include "sweep/head_variant.hpp"

namespace anchor::sweep {
namespace {

/// Fits every head's knob on several dumps and looks what it keeps on others. A KV group is done at a time,
/// on all dumps. The fitted knob is the least that reaches the target on the mean of the fitted dumps'
/// curves, or with
/// --worst on each of them; then --margin is added. With --choose it is fitted under several values of a
/// parameter, and the cheapest of them becomes the head's. With --max-error a dump's own target may be higher
/// than the common one. With --allocate only the mean over a layer's heads, or all, meets the target, an
/// output error: heads that are right cheaply make up for those that are not. Unless --measure none, the
/// plans are run at the end: what they do to rows and outputs is no mean that curves know.
class Fit {
 public:
  Fit(const Options& options, const Request& request)
      : options_(options),
        request_(request),
        run_(request.runs[0]),
        variants_(head_variants(options.choose, run_)) {
    for (const std::string& path : split_list(options.fit, "--fit")) open(path);
    const std::size_t fitted = fitted_dumps_ = dumps_.size();
    if (!options.check.empty()) {
      for (const std::string& path : split_list(options.check, "--check")) open(path);
    }
    if (options.leave_one_out && fitted < 2) fail_usage("--leave-one-out needs two dumps in --fit");
    sets_ = fit_sets(options, paths_, fitted);
    tallies_.assign(sets_.size(), std::vector<Tally>(dumps_.size()));
    groups_ = cli::select_groups(*dumps_[0], options.dump);
    std::int64_t bytes = 0;
    for (const auto& dump : dumps_) {
      require_same_heads(*dumps_[0], *dump, groups_);
      bytes = std::max(bytes, check_memory(*dump, groups_, options.common.memory_limit()));
    }
    stream_.emplace(cli::open_stream(options.common, bytes));
  }
  int run();

 private:
  /// A KV group on its way: rows by head, set and checked dump, and the curves of its heads by dump.
  struct Group {
    std::vector<ResultRow> rows;
    std::vector<std::size_t> variants;                         ///< of each row: the one that was chosen
    std::vector<std::vector<std::vector<KnobCurve>>> curves;   ///< by variant, dump and head
    std::vector<std::vector<std::vector<double>>> target;      ///< recall to reach, by the same
    std::vector<std::vector<std::vector<ErrorCurve>>> errors;  ///< with --allocate, by the same
    std::vector<ErrorFront> fronts;  ///< with --allocate, by head: made from `errors`
    std::string error;
  };

  bool allocates() const { return !options_.allocate.empty(); }
  void open(const std::string& path) {
    paths_.push_back(path);
    dumps_.emplace_back(new DumpReader(cli::open_dump(path, options_.dump)));
  }
  void fit_heads();
  void fit_groups(std::size_t first, std::size_t count, bool measured);
  Group group_of(const GroupSelection& selection) const;
  void compute(const GroupSelection& selection, Engine& engine, const LoadedGroup& loaded, std::size_t dump,
               Group& group) const;
  void measure(const GroupSelection& selection, Engine& engine, const LoadedGroup& loaded, std::size_t dump,
               Group& group) const;
  double fit(const FitSet& set, const Group& group, std::size_t variant, std::size_t head) const;
  void fill(Group& group) const;
  void make_fronts(Group& group) const;
  void allocate(std::vector<Group>& groups) const;
  void give(Group& group, ResultRow& row, const HeadSetting& setting) const;
  void emit(const Group& group);
  void write_thresholds() const;

  const Options& options_;
  const Request& request_;
  const MethodRun& run_;
  std::vector<HeadVariant> variants_;
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<DumpReader>> dumps_;  ///< those of --fit, then those of --check
  std::size_t fitted_dumps_ = 0;
  std::vector<FitSet> sets_;
  std::vector<std::vector<Tally>> tallies_;  ///< by set and dump
  std::vector<GroupSelection> groups_;
  std::optional<DumpStream> stream_;
  std::optional<cli::RunShell> shell_;
  std::vector<HeadPoint> fitted_;   ///< the first set's heads, means over its fitted dumps
  mutable std::mutex error_mutex_;  ///< the dumps of a group may fail at the same time
  double below_ = 0;
};

/// The rows before anything is computed. Their values are those of the dump they name.
Fit::Group Fit::group_of(const GroupSelection& selection) const {
  std::vector<std::uint64_t> content;
  for (const auto& dump : dumps_) {
    for (const std::uint64_t hash : layer_content(*dump, selection.layer)) content.push_back(hash);
  }
  for (const double knob : request_.head.grid) content.push_back(std::bit_cast<std::uint64_t>(knob));
  content.push_back(std::bit_cast<std::uint64_t>(options_.margin));
  content.push_back(options_.worst);
  content.push_back(std::bit_cast<std::uint64_t>(options_.max_error.value_or(0)));
  content.push_back(request_.head.measure);
  std::vector<std::string> texts = options_.choose;
  if (allocates()) texts.push_back(options_.allocate);
  for (const std::string& text : texts) {
    Checksum hash;
    hash.add(std::as_bytes(std::span(text)));
    content.push_back(hash.value());
  }
  Group group;
  group.curves.assign(variants_.size(), std::vector<std::vector<KnobCurve>>(dumps_.size()));
  group.target.assign(variants_.size(), std::vector<std::vector<double>>(dumps_.size()));
  group.errors.resize(variants_.size(), std::vector<std::vector<ErrorCurve>>(fitted_dumps_));
  for (const int head : selection.heads) {
    for (const FitSet& set : sets_) {
      for (const std::size_t n : set.checked) {
        ResultRow row = head_row(*dumps_[n], selection.layer, head);
        row.kind = "sweep";
        row.method = run_.method->name;
        row.params = fixed_params(run_);
        row.target = request_.target;
        row.device = stream_->engine().device();
        row.path = stream_->engine().path();
        row.extra["role"] = std::string(set.fits(n) ? "fit" : "check");
        row.extra["fitted_on"] = set.name;
        row.env = host_environment();
        row.argv = options_.argv;
        std::vector<std::uint64_t> identity = content;
        identity.push_back(n);
        identity.insert(identity.end(), set.fitted.begin(), set.fitted.end());
        row.unit = unit_id(row, identity);
        group.rows.push_back(std::move(row));
      }
    }
  }
  return group;
}

void Fit::compute(const GroupSelection& selection, Engine& engine, const LoadedGroup& loaded,
                  std::size_t dump, Group& group) const {
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    const std::vector<int> heads = selection.locals();
    std::unique_ptr<DenseReference> dense;  // the variants'
    if ((allocates() || options_.max_error) && dump < fitted_dumps_) dense = engine.dense_reference(*inputs);
    for (std::size_t v = 0; v < variants_.size(); ++v) {
      auto& curves = group.curves[v][dump];
      curves = knob_curves(engine, *inputs, *run_.method, variants_[v].params, request_.head.grid, heads);
      if (allocates()) {
        group.errors[v][dump] = error_curves(engine, *inputs, *run_.method, variants_[v].params, heads,
                                             std::exchange(curves, {}), *dense, request_.target.value);
        continue;
      }
      group.target[v][dump].assign(heads.size(), request_.target.value);
      if (dense) {
        group.target[v][dump] = recall_for_error(engine, *inputs, *run_.method, variants_[v].params, heads,
                                                 curves, *dense, request_.target.value, *options_.max_error);
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    const std::lock_guard lock(error_mutex_);
    group.error = error.what();
  }
}

/// Runs the plans at the knobs of every fit that looks at this dump.
void Fit::measure(const GroupSelection& selection, Engine& engine, const LoadedGroup& loaded,
                  std::size_t dump, Group& group) const {
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    const auto dense = engine.dense_reference(*inputs);
    const std::vector<int> locals = selection.locals();
    const std::size_t rows_per_head = group.rows.size() / locals.size();
    std::size_t first = 0;  // the set's first row of a head
    for (const FitSet& set : sets_) {
      const auto at = std::find(set.checked.begin(), set.checked.end(), dump) - set.checked.begin();
      const std::size_t row = first + static_cast<std::size_t>(at);
      first += set.checked.size();
      if (row == first) continue;  // not among the dumps that it looks at
      std::vector<double> knobs;
      std::vector<Params> params;
      for (std::size_t h = 0; h < locals.size(); ++h) {
        knobs.push_back(*group.rows[h * rows_per_head + row].value);
        params.push_back(variants_[group.variants[h * rows_per_head + row]].params);
      }
      if (variants_.size() == 1) params.clear();
      const auto replays =
          measure_heads(engine, *inputs, *run_.method, run_.params, locals, knobs, *dense, params);
      for (std::size_t h = 0; h < locals.size(); ++h) {
        ResultRow& one = group.rows[h * rows_per_head + row];
        const auto density = one.density, recall = one.mass_recall;
        fill_measured(one, replays[h]);
        if (allocates()) continue;
        one.density = density;  // the curves': sums of floats in another order may miss the target
        one.mass_recall = recall;
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    const std::lock_guard lock(error_mutex_);
    group.error = error.what();
  }
}

double Fit::fit(const FitSet& set, const Group& group, std::size_t variant, std::size_t head) const {
  const auto knob = [](const KnobCurve& curve, double target) {
    return curve.points.knob[curve.least(target).value_or(curve.densest())];
  };
  double value = 0;
  if (!options_.worst) {
    std::vector<KnobCurve> curves;
    for (const std::size_t n : set.fitted) curves.push_back(group.curves[variant][n][head]);
    value = knob(mean_curve(curves), request_.target.value);
  } else {  // every dump's own choice keeps the target there: the one that keeps most keeps it everywhere
    const KnobCurve& first = group.curves[variant][set.fitted[0]][head];
    std::pair<double, double> most{-1, 0};
    for (const std::size_t n : set.fitted) {
      const double x = knob(group.curves[variant][n][head], group.target[variant][n][head]);
      const std::pair reach(first.points.density[first.at(x)], first.points.descending ? -x : x);
      if (reach > most) most = reach, value = x;
    }
  }
  // planners compare in float: a value that float cannot hold would be another one in the plan
  return static_cast<double>(static_cast<float>(value + options_.margin));
}

/// What a row's head is given; rows get it in their order.
void Fit::give(Group& group, ResultRow& row, const HeadSetting& setting) const {
  group.variants.push_back(setting.variant);
  row.value = setting.knob;
  for (const auto& [name, choice] : variants_[setting.variant].choice) row.params[name] = choice;
}

void Fit::fill(Group& group) const {
  if (!group.error.empty()) {
    for (ResultRow& row : group.rows) row.fail(group.error);
    return;
  }
  std::size_t at = 0;
  for (std::size_t head = 0; head < group.curves[0][0].size(); ++head) {
    for (const FitSet& set : sets_) {
      double value = 0, least = std::numeric_limits<double>::infinity();
      std::size_t chosen = 0;
      for (std::size_t v = 0; v < variants_.size(); ++v) {
        const double knob = fit(set, group, v, head);
        double cost = variants_[v].cost;
        for (const std::size_t n : set.fitted) {
          const KnobCurve& curve = group.curves[v][n][head];
          cost += curve.points.density[curve.at(knob)] / static_cast<double>(set.fitted.size());
        }
        if (cost < least) least = cost, value = knob, chosen = v;
      }
      for (const std::size_t n : set.checked) {
        ResultRow& row = group.rows[at++];
        give(group, row, {chosen, value});
        const KnobCurve& curve = group.curves[chosen][n][head];
        const CurvePoint point = curve.points.point(curve.at(value));
        row.density = point.density;
        row.mass_recall = point.mass_recall;
        row.extra["shortfall"] = std::max(0., request_.target.value - point.mass_recall);
      }
    }
  }
}

void Fit::make_fronts(Group& group) const {
  for (std::size_t head = 0; head < group.errors[0][0].size(); ++head) {
    std::vector<std::vector<const ErrorCurve*>> curves(variants_.size());
    for (std::size_t v = 0; v < variants_.size(); ++v)
      for (const std::size_t n : sets_[0].fitted) curves[v].push_back(&group.errors[v][n][head]);
    group.fronts.push_back(error_front(variants_, curves, options_.worst));
  }
  group.errors = {};
}

/// The cheapest settings with which the mean error of the heads is the target; groups that failed have no
/// fronts.
void Fit::allocate(std::vector<Group>& groups) const {
  std::vector<Curve> fronts;
  for (const Group& group : groups)
    for (const ErrorFront& head : group.fronts) fronts.push_back(head.front);
  if (fronts.empty()) return;
  const Allocation found = allocate_for_recall(fronts, 1 - request_.target.value);
  std::size_t at = 0;
  for (Group& group : groups) {
    auto row = group.rows.begin();
    for (const ErrorFront& head : group.fronts) {
      const double index = head.front.knob[found.point[at++]];
      for (std::size_t n = 0; n < sets_[0].checked.size(); ++n)
        give(group, *row++, head.settings[static_cast<std::size_t>(index)]);
    }
    group.fronts.clear();
  }
}

/// Prints a group's rows, head by head, and counts what they say.
void Fit::emit(const Group& group) {
  const double target = request_.target.value;
  for (std::size_t at = 0; at < group.rows.size();) {
    for (std::size_t s = 0; s < sets_.size(); ++s) {
      HeadPoint mean;
      double least = 1;
      bool ok = true;
      for (const std::size_t n : sets_[s].checked) {
        const ResultRow row = shell_->emit_result(group.rows[at++]);
        if (!row.ok()) {
          ok = false;
          continue;
        }
        tallies_[s][n].add(row, target);
        if (!sets_[s].fits(n)) continue;
        const HeadPoint point = HeadPoint::of(row);
        const auto count = static_cast<double>(sets_[s].fitted.size());
        mean.layer = point.layer, mean.head = point.head, mean.value = point.value;
        for (const auto& [name, value] : variants_[0].choice) mean.params[name] = row.params.at(name);
        mean.density += point.density / count;
        mean.recall += point.recall / count;
        least = std::min(least, point.recall);
      }
      if (!ok) continue;
      if (options_.leave_one_out) continue;  // its rows are not of the dumps that were fitted
      below_ += !allocates() && (options_.worst ? least : mean.recall) < target;
      if (s == 0) fitted_.push_back(mean);
    }
  }
}

/// Fits some groups; then, if the plans are to be run, reads them once more.
void Fit::fit_groups(std::size_t first, std::size_t count, bool measured) {
  std::vector<StreamItem> items;  // the dumps of a group one after the other
  for (std::size_t g = first; g < first + count; ++g)
    for (const auto& dump : dumps_) items.push_back({dump.get(), groups_[g]});
  std::vector<Group> groups(count);
  const std::size_t dumps = dumps_.size();
  const bool one_layer = measured && groups_[first + count - 1].layer == groups_[first].layer;
  const auto layer = one_layer ? fmt::format(" layer {}", groups_[first].layer) : "";
  const auto last = [&](std::size_t n) { return n % dumps + 1 == dumps; };
  const auto show = [&](Group& group) {
    emit(group);
    group = {};
  };
  bool all_finished = allocates();  // an allocation needs all groups, or none
  for (std::size_t g = 0; g < count && allocates(); ++g) {
    groups[g] = group_of(groups_[first + g]);
    all_finished = all_finished && shell_->all_finished(groups[g].rows);
  }
  const auto wanted = [&](std::size_t n) {
    if (allocates()) return !all_finished && n % dumps < fitted_dumps_;
    Group& group = groups[n / dumps];
    if (n % dumps == 0) group = group_of(groups_[first + n / dumps]);
    return !shell_->all_finished(group.rows);
  };
  stream_->run(fmt::format("fit{}: KV group", layer), items,
               {.wanted = wanted,
                .compute =
                    [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
                      compute(items[n].group, engine, loaded, n % dumps, groups[n / dumps]);
                    },
                .finish =
                    [&](std::size_t n) {
                      if (!last(n)) return;
                      Group& group = groups[n / dumps];
                      if (allocates() && group.error.empty())
                        make_fronts(group);
                      else if (!group.error.empty() || !group.curves[0][0].empty())
                        fill(group);
                      group.curves.clear();
                      if (!measured) show(group);
                    }});
  if (!measured) return;
  if (allocates()) allocate(groups);
  stream_->run(fmt::format("measure{}: KV group", layer), items,
               {.wanted =
                    [&](std::size_t n) {
                      return groups[n / dumps].error.empty() && !shell_->all_finished(groups[n / dumps].rows);
                    },
                .compute =
                    [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
                      measure(items[n].group, engine, loaded, n % dumps, groups[n / dumps]);
                    },
                .finish =
                    [&](std::size_t n) {
                      if (!last(n)) return;
                      Group& group = groups[n / dumps];
                      if (!group.error.empty()) fill(group);
                      show(group);
                    }});
}

/// All groups: layer by layer if plans are run, so that a killed fit has finished most of what it read.
void Fit::fit_heads() {
  const bool measured = request_.head.measure;
  for (std::size_t first = 0; first < groups_.size();) {
    std::size_t end = first;
    const bool together = !measured || options_.allocate == "model";
    while (end < groups_.size() && (together || groups_[end].layer == groups_[first].layer)) ++end;
    fit_groups(first, end - first, measured);
    first = end;
  }
}

void Fit::write_thresholds() const {
  std::vector<std::string> texts;
  for (const std::size_t n : sets_[0].fitted) texts.push_back(paths_[n]);
  const Thresholds made = thresholds_of(run_, *dumps_[0], request_.target, texts, fitted_);
  write_text_file(options_.thresholds_out, thresholds_text(made));
}

int Fit::run() {
  std::vector<Column> eye{{"dump.layer", -1, "layer"}, {"dump.head", -1, "head"}, {"role"}};
  if (sets_.size() > 1) eye.push_back({"fitted_on"});
  for (const auto& [name, value] : variants_[0].choice) eye.push_back({"params." + name, -1, name});
  for (const Column& column : {Column{"value", 4, run_.method->knob}, Column{"density", 4},
                               Column{"mass_recall", 4}, Column{"dump.path", -1, "dump"}}) {
    eye.push_back(column);
  }
  if (request_.head.measure)
    for (const char* name : {"out_rel_l2", "mass_recall_p05"}) eye.push_back({name, 4});
  std::vector<Column> all;
  for (const char* name : {"dump.path", "role", "fitted_on", "dump.layer", "dump.head", "status", "error",
                           "method", "target.value", "value", "density", "work_density", "mass_recall",
                           "mass_recall_p05", "mass_recall_min", "out_rel_l2", "shortfall", "path", "unit"})
    all.push_back({name});
  shell_.emplace(options_.common, eye, all, options_.thresholds_out);
  shell_->output().shorten({"mass_recall", cli::Selection::Order::least, "that keep least"});
  shell_->run([&] { fit_heads(); });
  shell_->finish();
  if (!options_.thresholds_out.empty() && shell_->failed() == 0) write_thresholds();
  if (shell_->markdown()) print_fits(options_, request_, sets_, paths_, tallies_);
  if (allocates()) {
    double error = 0, heads = 0;
    for (const std::size_t n : sets_[0].fitted) error += tallies_[0][n].error, heads += tallies_[0][n].heads;
    constexpr double between_runs = 1.05;  // what the power law may be off by
    below_ = error > heads * request_.target.value * between_runs;
  }
  return shell_->exit_code(below_ > 0 ? 4 : 0);
}

}  // namespace

int run_fit(const Options& options, const Request& request) { return Fit(options, request).run(); }

}  // namespace anchor::sweep
