#include "bench/run.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "bench/columns.hpp"
#include "bench/timed_methods.hpp"
#include "cli/progress.hpp"
#include "cli/run_shell.hpp"
#include "cli/threshold_options.hpp"

namespace anchor::bench {

namespace {

/// The thresholds are for the heads of this dump.
void check_thresholds(const Options& options, const TimingSettings& settings, const TimedData& data,
                      const Method& method) {
  for (const LayerTask& task : data.layers->tasks())
    settings.thresholds->check(method, task.layer, data.reader->layer(task.layer).geometry,
                               data.layers->heads(), options.thresholds);
  cli::note_other_model(*settings.thresholds, options.thresholds, data.reader->path(),
                        data.reader->header().model, options.common);
}

}  // namespace

int run(const Options& options, const CLI::App& app) {
  const TimedData data = open_data(options.data, app);
  const LayerSource& layers = *data.layers;
  const TimingSettings settings = timing_settings(options);
  const std::unique_ptr<Engine> engine = cli::open_engine(options.common);
  const std::vector<TimedMethod> methods =
      timed_methods(options, settings, engine->device(), layers.geometry(layers.tasks().front()));
  if (settings.thresholds) check_thresholds(options, settings, data, *methods.back().method);
  LayerTiming timing(*engine, layers, methods, settings);
  cli::RunShell shell(options.common, columns_for_eyes(methods), columns_for_files());
  bool checks_failed = false;
  cli::Progress progress("bench: layer", std::ssize(layers.tasks()), options.common.quiet);
  std::int64_t done = 0;
  shell.run([&] {
    for (const LayerTask& task : layers.tasks()) {
      check_interrupt();
      progress.update(done++, fmt::format("{} tokens", task.tokens));
      std::vector<TimedRow> rows = timing.templates(task);
      const bool finished = std::ranges::all_of(
          rows, [&](const TimedRow& timed) { return shell.finished(timed.row.unit) != nullptr; });
      if (!finished) timing.run(task, rows);
      progress.clear();
      for (const TimedRow& timed : rows) {
        shell.emit_result(timed.row);
        checks_failed = checks_failed || timed.check_failed;
      }
    }
  });
  shell.output().finish();  // rows of checks that failed are kept
  if (checks_failed) return 4;
  if (shell.succeeded() == 0) fail("nothing was timed: {}", shell.first_error());
  return shell.exit_code();
}

}  // namespace anchor::bench
