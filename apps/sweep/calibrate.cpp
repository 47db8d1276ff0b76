#include <algorithm>
#include <bit>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"
#include "anchor/tuning/calibration.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "cli/terminal.hpp"
#include "sweep/findings.hpp"

namespace anchor::sweep {
namespace {

/// The published calibration of every head over several prompts, one after the other.
class Calibration {
 public:
  Calibration(const Options& options, const Request& request)
      : options_(options), run_(request.runs[0]), target_{"out_l1", "mean over rows", *options.calibrate} {
    paths_ = options.fit.empty() ? std::vector{options.dump.path} : split_list(options.fit, "--fit");
    for (const std::string& path : paths_)
      dumps_.emplace_back(new DumpReader(cli::open_dump(path, options.dump)));
    groups_ = cli::select_groups(*dumps_[0], options.dump);
    std::int64_t bytes = 0;
    for (const auto& dump : dumps_) {
      require_same_heads(*dumps_[0], *dump, groups_);
      bytes = std::max(bytes, check_memory(*dump, groups_, options.common.memory_limit()));
    }
    stream_.emplace(
        cli::open_stream(options.common, bytes, true));  // a prompt goes on where the one before it ended
  }
  int run();

 private:
  std::vector<ResultRow> templates(const GroupSelection& group, std::size_t dump) const;
  void compute(std::size_t n, Engine& engine, const LoadedGroup& loaded);
  void finish(std::size_t n);
  void print_summary() const;
  void write_thresholds() const;

  const Options& options_;
  const MethodRun& run_;
  Target target_;
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<DumpReader>> dumps_;
  std::vector<GroupSelection> groups_;
  std::optional<DumpStream> stream_;
  std::optional<cli::RunShell> shell_;
  std::vector<std::vector<ResultRow>> rows_;   ///< by head; of groups, each with all dumps, on their way
  std::vector<std::vector<double>> knobs_;     ///< by group and head
  std::vector<std::vector<HeadPoint>> found_;  ///< by dump
};

std::vector<ResultRow> Calibration::templates(const GroupSelection& group, std::size_t dump) const {
  std::vector<std::uint64_t> content;  // of this prompt and those before it
  for (std::size_t n = 0; n <= dump; ++n)
    for (const std::uint64_t hash : layer_content(*dumps_[n], group.layer)) content.push_back(hash);
  content.push_back(std::bit_cast<std::uint64_t>(run_.params.real(run_.method->knob)));
  std::vector<ResultRow> rows;
  for (const int head : group.heads) {
    ResultRow row = head_row(*dumps_[dump], group.layer, head);
    row.kind = "sweep";
    row.method = run_.method->name;
    row.params = fixed_params(run_);
    row.target = target_;
    row.device = stream_->engine().device();
    row.path = stream_->engine().path();
    row.extra["role"] = std::string("calibrate");
    row.env = host_environment();
    row.argv = options_.argv;
    row.unit = unit_id(row, content);
    rows.push_back(std::move(row));
  }
  return rows;
}

void Calibration::compute(std::size_t n, Engine& engine, const LoadedGroup& loaded) {
  const GroupSelection& group = groups_[n / dumps_.size()];
  std::vector<ResultRow>& rows = rows_[n];
  std::vector<double>& knobs = knobs_[n / dumps_.size()];
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    const auto dense = engine.dense_reference(*inputs);
    const std::vector<int> locals = group.locals();
    const auto found =
        calibrate(engine, *inputs, *run_.method, run_.params, *options_.calibrate, locals, knobs, *dense);
    for (std::size_t h = 0; h < rows.size(); ++h) {
      rows[h].value = knobs[h];
      fill_measured(rows[h], found[h]);
      rows[h].extra["out_l1"] = row_l1(found[h].difference, inputs->geometry());
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    for (ResultRow& row : rows) row.fail(error.what());
  }
}

void Calibration::finish(std::size_t n) {
  for (const ResultRow& own : rows_[n]) {
    const ResultRow row = shell_->emit_result(own);
    if (row.ok()) found_[n % dumps_.size()].push_back(HeadPoint::of(row));
  }
  rows_[n] = {};
}

void Calibration::print_summary() const {
  std::vector<Json> lines;
  for (std::size_t n = 0; n < paths_.size(); ++n) {
    Choice mean{.name = paths_[n], .heads = found_[n]};
    if (mean.heads.empty()) continue;
    mean.take_means();
    double error = 0, dense = 0;
    for (const HeadPoint& head : mean.heads) {
      error += *head.out_rel_l2 / static_cast<double>(mean.heads.size());
      dense += head.value == 0;
    }
    const auto less = [](const HeadPoint& a, const HeadPoint& b) { return *a.out_rel_l2 < *b.out_rel_l2; };
    const HeadPoint worst = *std::max_element(mean.heads.begin(), mean.heads.end(), less);
    lines.push_back(
        {{"after", paths_[n].substr(paths_[n].rfind('/') + 1)},
         {"dense heads", fmt::format("{} of {}", dense, mean.heads.size())},
         {"density", mean.density},
         {"mass_recall", mean.recall},
         {"out_rel_l2", error},
         {"worst out", fmt::format("{:.4f} ({}:{})", *worst.out_rel_l2, worst.layer, worst.head)}});
  }
  const std::vector<Column> columns{{"after"},          {"dense heads"},   {"density", 4},
                                    {"mass_recall", 4}, {"out_rel_l2", 4}, {"worst out"}};
  fmt::print("\n{} halved per head while the output's L1 error per row is {} or more:\n\n{}",
             run_.method->knob, format_number(*options_.calibrate),
             markdown_table(lines, columns, static_cast<std::size_t>(cli::terminal_width())));
  std::fflush(stdout);
}

void Calibration::write_thresholds() const {
  const Thresholds made = thresholds_of(run_, *dumps_[0], target_, paths_, found_.back());
  write_text_file(options_.thresholds_out, thresholds_text(made));
}

int Calibration::run() {
  const std::vector<Column> eye{{"dump.layer", -1, "layer"},
                                {"dump.head", -1, "head"},
                                {"value", 6, run_.method->knob},
                                {"density", 4},
                                {"mass_recall", 4},
                                {"out_l1", 4},
                                {"out_rel_l2", 4},
                                {"dump.path", -1, "dump"}};
  std::vector<Column> all;
  for (const char* name : {"dump.path", "role", "dump.layer", "dump.head", "status", "error", "method",
                           "target.value", "value", "density", "work_density", "mass_recall",
                           "mass_recall_p05", "mass_recall_min", "out_l1", "out_rel_l2", "path", "unit"})
    all.push_back({name});
  shell_.emplace(options_.common, eye, all, options_.thresholds_out);
  shell_->output().shorten({"density", cli::Selection::Order::most, "that need most"});

  std::vector<StreamItem> items;  // the dumps of a group one after the other
  for (const GroupSelection& group : groups_) {
    knobs_.emplace_back(group.heads.size(), run_.params.real(run_.method->knob));
    for (const auto& dump : dumps_) items.push_back({dump.get(), group});
  }
  rows_.resize(items.size());
  found_.resize(dumps_.size());
  const auto wanted = [&](std::size_t n) {
    rows_[n] = templates(items[n].group, n % dumps_.size());
    return true;
  };
  shell_->run([&] {
    stream_->run("calibrate: KV group", items,
                 {.wanted = wanted,
                  .compute = [&](std::size_t n, Engine& engine,
                                 const LoadedGroup& loaded) { compute(n, engine, loaded); },
                  .finish = [&](std::size_t n) { finish(n); }});
  });
  shell_->finish();
  if (!options_.thresholds_out.empty() && shell_->failed() == 0) write_thresholds();
  if (shell_->markdown()) print_summary();
  return shell_->exit_code();
}

}  // namespace

int run_calibration(const Options& options, const Request& request) {
  return Calibration(options, request).run();
}

}  // namespace anchor::sweep
