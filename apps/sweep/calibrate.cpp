#include "sweep/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "anchor/base/number.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/report/table.hpp"
#include "anchor/tuning/prompt_calibration.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/dump_stream.hpp"
#include "cli/number.hpp"
#include "cli/run_shell.hpp"
#include "cli/terminal.hpp"
#include "sweep/search_options.hpp"

namespace anchor::sweep {
namespace {

struct CalibrateOptions {
  cli::CommonOptions common;
  cli::MethodOptions method;
  cli::DumpsOptions dumps;
  double error = 0;  ///< the output's L1 error per row
  std::string thresholds_out;
  std::vector<std::string> argv;
};

constexpr const char* examples =
    R"(anchor-sweep calibrate D.h5 --error 0.4 --thresholds-out S.json
anchor-sweep calibrate prose.h5,code.h5 --error 0.4 -o sale.jsonl)";

MethodRun run_of(const CalibrateOptions& options) {
  const std::vector<MethodRun> runs = cli::resolve_methods(options.method);
  need_one_run(runs, "calibrate");
  check_calibration(runs[0]);
  return runs[0];
}

/// The published calibration of every head over several prompts: its rows, table and thresholds file. The
/// calibration itself is the library's (tuning/prompt_calibration.hpp).
class CalibrationRun {
 public:
  explicit CalibrationRun(const CalibrateOptions& options);
  int run();

 private:
  ResultRow row_of(const CalibratedGroup& group, std::size_t head) const;
  void emit(const CalibratedGroup& group);
  void print_summary() const;
  void write_thresholds();

  const CalibrateOptions& options_;
  const MethodRun run_;
  Target target_;
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<DumpReader>> dumps_;
  std::vector<GroupSelection> groups_;
  std::optional<DumpStream> stream_;
  std::optional<cli::RunShell> shell_;
  std::vector<std::vector<ChosenHead>> found_;  ///< by dump
};

CalibrationRun::CalibrationRun(const CalibrateOptions& options)
    : options_(options),
      run_(run_of(options)),
      target_{"out_l1", "mean over rows", options.error},
      paths_(options.dumps.paths()),
      found_(paths_.size()) {
  for (const std::string& path : paths_)
    dumps_.emplace_back(new DumpReader(cli::open_dump(path, options.dumps)));
  groups_ = cli::select_groups(*dumps_[0], options.dumps);
  std::int64_t bytes = 0;
  for (const auto& dump : dumps_) {
    require_same_heads(*dumps_[0], *dump, groups_);
    bytes = std::max(bytes, check_memory(*dump, groups_, options.common.memory_limit()));
  }
  stream_.emplace(
      cli::open_stream(options.common, bytes, true));  // a prompt goes on where the one before it ended
}

ResultRow CalibrationRun::row_of(const CalibratedGroup& group, std::size_t head) const {
  const GroupSelection& selection = groups_[group.index];
  std::vector<std::uint64_t> content;  // of this prompt and those before it
  for (std::size_t n = 0; n <= group.prompt; ++n)
    for (const std::uint64_t hash : layer_content(*dumps_[n], selection.layer)) content.push_back(hash);
  content.push_back(std::bit_cast<std::uint64_t>(run_.params.real(run_.method->knob)));
  ResultRow row = head_row(*dumps_[group.prompt], selection.layer, selection.heads[head]);
  stamp(row, stream_->engine(), run_, options_.argv);
  row.kind = "sweep";
  row.target = target_;
  row.extra["role"] = std::string("calibrate");
  row.unit = unit_id(row, content);
  if (!group.error.empty()) {
    row.fail(group.error);
    return row;
  }
  const CalibratedHead& found = group.heads[head];
  row.value = found.knob;
  fill_measured(row, found.replay);
  row.extra["out_l1"] = found.out_l1;
  return row;
}

void CalibrationRun::emit(const CalibratedGroup& group) {
  for (std::size_t h = 0; h < groups_[group.index].heads.size(); ++h) {
    const ResultRow row = shell_->emit_result(row_of(group, h));
    if (row.ok()) found_[group.prompt].push_back(ChosenHead::of(row));
  }
}

void CalibrationRun::print_summary() const {
  std::vector<Json> lines;
  for (std::size_t n = 0; n < paths_.size(); ++n) {
    const std::vector<ChosenHead>& heads = found_[n];
    if (heads.empty()) continue;
    const ChosenMeans means = chosen_means(heads);
    double error = 0, dense = 0;
    for (const ChosenHead& head : heads) {
      error += *head.at.out_rel_l2 / static_cast<double>(heads.size());
      dense += head.at.knob == 0;
    }
    const auto less = [](const ChosenHead& a, const ChosenHead& b) {
      return *a.at.out_rel_l2 < *b.at.out_rel_l2;
    };
    const ChosenHead& worst = *std::max_element(heads.begin(), heads.end(), less);
    lines.push_back(
        {{"after", paths_[n].substr(paths_[n].rfind('/') + 1)},
         {"dense heads", fmt::format("{} of {}", dense, heads.size())},
         {"density", means.density},
         {"mass_recall", means.mass_recall},
         {"out_rel_l2", error},
         {"worst out", fmt::format("{:.4f} ({}:{})", *worst.at.out_rel_l2, worst.layer, worst.head)}});
  }
  const std::vector<Column> columns{{"after"},          {"dense heads"},   {"density", 4},
                                    {"mass_recall", 4}, {"out_rel_l2", 4}, {"worst out"}};
  fmt::print("\n{} halved per head while the output's L1 error per row is {} or more:\n\n{}",
             run_.method->knob, format_number(options_.error),
             markdown_table(lines, columns, static_cast<std::size_t>(cli::terminal_width())));
  std::fflush(stdout);
}

void CalibrationRun::write_thresholds() {
  Thresholds made = make_thresholds(run_, dumps_[0]->header().model, target_, paths_, found_.back());
  set_shapes(made, *dumps_[0]);
  shell_->write_thresholds(thresholds_text(made));
}

int CalibrationRun::run() {
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

  std::vector<const DumpReader*> prompts;
  for (const auto& dump : dumps_) prompts.push_back(dump.get());
  shell_->run([&] {
    calibrate_prompts(*stream_, prompts, groups_, run_, options_.error,
                      [&](const CalibratedGroup& group) { emit(group); });
  });
  shell_->finish();
  if (!options_.thresholds_out.empty() && shell_->failed() == 0) write_thresholds();
  if (shell_->markdown()) print_summary();
  return shell_->exit_code();
}

}  // namespace

void setup_calibrate(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv) {
  const auto options = std::make_shared<CalibrateOptions>();
  options->argv = argv;
  options->method.names = "sale";
  CLI::App* calibrate = app.add_subcommand(
      "calibrate", "Find every head's knob by a paper's own rule: SALE's, arXiv 2505.24179");
  calibrate->footer(examples);
  cli::add_dumps(*calibrate, options->dumps,
                 "Dumps of one model as prompts, each of which goes on where the last one ended: A.h5,B.h5");
  calibrate
      ->add_option(
          "--error", options->error,
          "Halve each head's theta_h from 0.008 on while the L1 error of its output is X or more per "
          "row; 1e-4 or less is dense. The published Llama recipe has 0.4, its flag's default was 1")
      ->required()
      ->check(cli::real_number(0))
      ->type_name("X");
  calibrate
      ->add_option("--thresholds-out", options->thresholds_out, "One knob value per head, for --thresholds")
      ->type_name("FILE");
  cli::add_method(*calibrate, options->method, argv);
  cli::add_output(*calibrate, options->common);
  cli::add_device(*calibrate, options->common);
  cli::add_common(*calibrate, options->common);
  calibrate->callback(
      [options, &command] { command = [options] { return CalibrationRun(*options).run(); }; });
}

}  // namespace anchor::sweep
