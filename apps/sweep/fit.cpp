#include "sweep/fit.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "sweep/fit_tables.hpp"

namespace anchor::sweep {
namespace {

/// The rows of a fit, its tables and its thresholds file. The fit itself is the library's (tuning/fit.hpp).
class FitRun {
 public:
  explicit FitRun(const FitOptions& options);
  int run();

 private:
  bool allocates() const { return spec_.request.allocate.has_value(); }
  void open(const std::string& path);
  std::vector<std::uint64_t> identity(const GroupSelection& selection) const;
  std::vector<ResultRow> templates(const GroupSelection& selection) const;
  void fill(std::vector<ResultRow>& rows, const FittedGroup& group) const;
  void emit(const std::vector<ResultRow>& rows);
  void count(std::size_t set, std::span<const ChosenHead> fitted);
  void write_thresholds();
  bool missed() const;
  std::vector<Column> eye_columns() const;

  const FitOptions& options_;
  const FitSpec spec_;
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<DumpReader>> dumps_;  ///< those to fit on, then those of --check
  std::vector<FitSet> sets_;
  std::vector<std::vector<Tally>> tallies_;  ///< by set and dump
  std::vector<GroupSelection> groups_;
  std::optional<DumpStream> stream_;
  std::optional<Fit> fit_;
  std::optional<cli::RunShell> shell_;
  std::vector<std::vector<ResultRow>> rows_;  ///< by group: by head, set and checked dump, on their way
  std::vector<ChosenHead> fitted_;            ///< the first set's heads, means over its fitted dumps
  std::size_t below_ = 0;  ///< heads of any set that miss the target on what it was fitted on
};

FitRun::FitRun(const FitOptions& options) : options_(options), spec_(fit_spec(options)) {
  for (const std::string& path : options.dumps.paths()) open(path);
  const std::size_t fitted = dumps_.size();
  if (!options.check.empty())
    for (const std::string& path : split_list(options.check, "--check")) open(path);
  std::vector<std::string> names;
  for (const std::string& path : paths_) names.push_back(short_name(path));
  sets_ = fit_sets(options.split(), names, fitted);
  tallies_.assign(sets_.size(), std::vector<Tally>(dumps_.size()));
  groups_ = cli::select_groups(*dumps_[0], options.dumps);
  rows_.resize(groups_.size());
  std::int64_t bytes = 0;
  std::vector<const DumpReader*> texts;
  for (const auto& dump : dumps_) {
    require_same_heads(*dumps_[0], *dump, groups_);
    bytes = std::max(bytes, check_memory(*dump, groups_, options.common.memory_limit()));
    texts.push_back(dump.get());
  }
  stream_.emplace(cli::open_stream(options.common, bytes));
  fit_.emplace(*stream_, texts, groups_, sets_, spec_.request);
}

void FitRun::open(const std::string& path) {
  paths_.push_back(path);
  dumps_.emplace_back(new DumpReader(cli::open_dump(path, options_.dumps)));
}

/// What determines the rows of a group besides what they say themselves.
std::vector<std::uint64_t> FitRun::identity(const GroupSelection& selection) const {
  std::vector<std::uint64_t> content;
  for (const auto& dump : dumps_)
    for (const std::uint64_t hash : layer_content(*dump, selection.layer)) content.push_back(hash);
  for (const double knob : spec_.request.grid) content.push_back(std::bit_cast<std::uint64_t>(knob));
  content.push_back(std::bit_cast<std::uint64_t>(options_.margin));
  content.push_back(options_.worst);
  content.push_back(std::bit_cast<std::uint64_t>(options_.max_error.value_or(-1)));
  content.push_back(spec_.request.measure);
  for (const std::string& text : options_.choose) content.push_back(option_hash(text));
  if (!allocates()) return content;
  content.push_back(option_hash(options_.allocate));  // every head's knob depends on all heads
  for (const GroupSelection& group : groups_) {
    for (const auto& dump : dumps_)
      for (const std::uint64_t hash : layer_content(*dump, group.layer)) content.push_back(hash);
    for (const int head : group.heads) content.push_back(static_cast<std::uint64_t>(head));
  }
  return content;
}

/// The rows before anything is computed. Their values are those of the dump they name.
std::vector<ResultRow> FitRun::templates(const GroupSelection& selection) const {
  const std::vector<std::uint64_t> content = identity(selection);
  std::vector<ResultRow> rows;
  for (const int head : selection.heads) {
    for (const FitSet& set : sets_) {
      for (const std::size_t n : set.checked) {
        ResultRow row = head_row(*dumps_[n], selection.layer, head);
        stamp(row, stream_->engine(), spec_.request.run, options_.argv);
        row.kind = "sweep";
        row.target = spec_.target;
        row.extra["role"] = std::string(set.fits(n) ? "fit" : "check");
        row.extra["fitted_on"] = set.name;
        std::vector<std::uint64_t> own = content;
        own.push_back(n);
        own.insert(own.end(), set.fitted.begin(), set.fitted.end());
        row.unit = unit_id(row, own);
        rows.push_back(std::move(row));
      }
    }
  }
  return rows;
}

void FitRun::fill(std::vector<ResultRow>& rows, const FittedGroup& group) const {
  if (!group.error.empty()) {
    for (ResultRow& row : rows) row.fail(group.error);
    return;
  }
  auto row = rows.begin();
  for (const FittedHead& head : group.fits) {
    for (std::size_t n = 0; n < std::max(head.kept.size(), head.measured.size()); ++n, ++row) {
      if (!head.measured.empty()) fill_measured(*row, head.measured[n]);
      const HeadAt at = head.at(n);
      row->value = at.knob;
      row->density = at.density;
      row->mass_recall = at.mass_recall;
      for (const auto& [name, value] : head.params) row->params[name] = value;
      if (!allocates()) row->extra["shortfall"] = std::max(0., spec_.target.value - at.mass_recall);
    }
  }
}

/// Prints a group's rows, head by head, and counts what they say.
void FitRun::emit(const std::vector<ResultRow>& rows) {
  for (auto next = rows.begin(); next != rows.end();) {
    for (std::size_t s = 0; s < sets_.size(); ++s) {
      std::vector<ChosenHead> fitted;
      bool ok = true;
      for (const std::size_t n : sets_[s].checked) {
        const ResultRow row = shell_->emit_result(*next++);
        ok = ok && row.ok();
        if (!row.ok()) continue;
        ChosenHead head = ChosenHead::of(row);
        tallies_[s][n].add(head, spec_.target.value);
        if (!sets_[s].fits(n)) continue;
        for (const auto& [name, value] : fit_->variants()[0].choice) head.params[name] = row.params.at(name);
        fitted.push_back(std::move(head));
      }
      if (ok && !fitted.empty()) count(s, fitted);
    }
  }
}

/// A head on the dumps that its set was fitted on.
void FitRun::count(std::size_t set, std::span<const ChosenHead> fitted) {
  const ChosenHead mean = mean_over_texts(fitted);
  double reached = mean.at.mass_recall;
  if (options_.worst)
    for (const ChosenHead& text : fitted) reached = std::min(reached, text.at.mass_recall);
  below_ += !allocates() && reached < spec_.target.value;
  if (set == 0) fitted_.push_back(mean);
}

void FitRun::write_thresholds() {
  std::vector<std::string> texts;
  for (const std::size_t n : sets_[0].fitted) texts.push_back(paths_[n]);
  Thresholds made =
      make_thresholds(spec_.request.run, dumps_[0]->header().model, spec_.target, texts, fitted_);
  set_shapes(made, *dumps_[0]);
  shell_->write_thresholds(thresholds_text(made));
}

/// A head misses its target, or the mean of an allocation does.
bool FitRun::missed() const {
  if (!allocates()) return below_ > 0;
  double error = 0, heads = 0;
  for (const std::size_t n : sets_[0].fitted) error += tallies_[0][n].error, heads += tallies_[0][n].heads;
  constexpr double between_runs = 1.05;  // what the power law may be off by
  return error > heads * spec_.target.value * between_runs;
}

std::vector<Column> FitRun::eye_columns() const {
  std::vector<Column> eye{{"dump.layer", -1, "layer"}, {"dump.head", -1, "head"}, {"role"}};
  if (sets_.size() > 1) eye.push_back({"fitted_on"});
  for (const auto& [name, value] : fit_->variants()[0].choice) eye.push_back({"params." + name, -1, name});
  for (const Column& column : {Column{"value", 4, spec_.request.run.method->knob}, Column{"density", 4},
                               Column{"mass_recall", 4}, Column{"dump.path", -1, "dump"}}) {
    eye.push_back(column);
  }
  if (spec_.request.measure)
    for (const char* name : {"out_rel_l2", "mass_recall_p05"}) eye.push_back({name, 4});
  return eye;
}

int FitRun::run() {
  std::vector<Column> all;
  for (const char* name : {"dump.path", "role", "fitted_on", "dump.layer", "dump.head", "status", "error",
                           "method", "target.value", "value", "density", "work_density", "mass_recall",
                           "mass_recall_p05", "mass_recall_min", "out_rel_l2", "shortfall", "path", "unit"})
    all.push_back({name});
  shell_.emplace(options_.common, eye_columns(), all, options_.thresholds_out);
  shell_->output().shorten({"mass_recall", cli::Selection::Order::least, "that keep least"});
  const auto wanted = [&](std::size_t n) {
    rows_[n] = templates(groups_[n]);
    return !shell_->all_finished(rows_[n]);
  };
  const auto finish = [&](const FittedGroup& group) {
    fill(rows_[group.index], group);
    emit(rows_[group.index]);
    rows_[group.index] = {};
  };
  shell_->run([&] { fit_->run({.wanted = wanted, .finish = finish}); });
  shell_->finish();
  if (!options_.thresholds_out.empty() && shell_->failed() == 0) write_thresholds();
  if (shell_->markdown()) print_fits(options_, spec_, sets_, paths_, tallies_);
  return shell_->exit_code(missed() ? 4 : 0);
}

}  // namespace

int run_fit(const FitOptions& options) { return FitRun(options).run(); }

}  // namespace anchor::sweep
