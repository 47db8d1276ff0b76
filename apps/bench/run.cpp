#include "bench/run.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/replay/plan_agreement.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/replay/sampled_check.hpp"
#include "anchor/timing/measure.hpp"
#include "anchor/tuning/match.hpp"
#include "anchor/tuning/stripe_density.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/progress.hpp"
#include "cli/run_shell.hpp"
#include "cli/threshold_options.hpp"

namespace anchor::bench {
namespace {

constexpr int stage_runs = 5;
constexpr int checked_plan_rows = 8;
constexpr std::int64_t most_checked_tokens = 16384;  // longer plans of whole heads take the CPU too long

/// A method or a baseline as asked for.
struct Wanted {
  std::string name;
  const Method* method = nullptr;  ///< nullptr: the device vendor's library
  Params params;
  std::optional<double> stripe_density;
  bool baseline = false;
};

/// The same on one layer.
struct Entry {
  const Wanted* wanted = nullptr;
  ResultRow row;
  std::unique_ptr<Pipeline> pipeline;
  PlanStats stats;
  bool check_failed = false;
};

class Job {
 public:
  Job(const Options& options, const CLI::App& app) : options_(options), source_(options.data, app) {
    if (!options.thresholds.empty()) {
      if (!options.stripe_density.empty()) fail_usage("--thresholds and --stripe-density exclude each other");
      if (options.data.dump.path.empty()) fail_usage("--thresholds names heads of a model: give --dump D.h5");
      thresholds_ = read_thresholds(options.thresholds);
    }
    if (!options.match.empty()) {
      if (!options.stripe_density.empty()) fail_usage("--match and --stripe-density exclude each other");
      match_ = parse_target(options.match, "--match", {"mass_recall", "out_rel_l2"});
    }
  }
  int run();

 private:
  /// Is the method's knob to be searched?
  bool searches(const Wanted& wanted) const {
    return match_ && wanted.method && !wanted.baseline && !wanted.method->knob.empty();
  }
  void want_baselines();
  void want_methods();
  std::vector<Entry> entries(const LayerTask& task) const;
  void run_task(const LayerTask& task, std::vector<Entry>& entries);
  void prepare(Entry& entry, const KvGroup& layer, const Inputs& inputs, const LayerTask& task);
  PlanRequest request(const Wanted& wanted, const LayerTask& task) const;
  void match(Entry& entry, const Inputs& inputs, PlanRequest& request);
  void check(Entry& entry, const KvGroup& layer, const PlanRequest& request);
  void time(std::vector<Entry>& entries);
  void speed_ups(std::vector<Entry>& entries) const;

  const Options& options_;
  LayerSource source_;
  std::optional<Thresholds> thresholds_;
  std::optional<Target> match_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<DenseReference> dense_;  ///< of the task's inputs, while knobs are searched
  std::vector<Wanted> wanted_;
  std::optional<double> matmul_tflops_;
};

void Job::want_baselines() {
  const std::string names = !options_.baselines.empty()  ? options_.baselines
                            : engine_->device() == "cpu" ? "dense"
                                                         : "cudnn";
  if (names == "none") return;
  for (const std::string& name : split_list(names, "--baseline")) {
    if (name != "cudnn" && name != "dense") fail_usage("--baseline {}: known are cudnn, dense, none", name);
    const Method* method = name == "dense" ? &find_method(name) : nullptr;
    wanted_.push_back({.name = name, .method = method, .baseline = true});
    if (method) wanted_.back().params = default_params(*method);
  }
}

void Job::want_methods() {
  std::vector<MethodRun> runs;
  if (thresholds_) {
    runs = {cli::thresholds_run(*thresholds_, options_.thresholds, options_.method)};
  } else {
    runs = cli::resolve_methods(options_.method);
  }
  std::vector<double> densities;
  if (!options_.stripe_density.empty()) densities = parse_list(options_.stripe_density, "--stripe-density");
  for (const double density : densities)
    if (!(density > 0 && density < 1)) fail_usage("--stripe-density {}: must lie between 0 and 1", density);
  const Geometry geometry = *source_.row(source_.tasks().front()).geometry;
  bool used = false;
  for (const MethodRun& run : runs) {
    if (run.method->rows_per_plan > 0 && options_.method.names == "all") continue;
    if (run.method->rows_per_plan > 0)
      fail_usage("--method {}: lists keys row by row; it measures quality, not speed", run.method->name);
    const Wanted one{.name = run.method->name, .method = run.method, .params = run.params};
    if (!densities.empty() && selects_stripes(*run.method, run.params, geometry)) {
      used = true;
      for (const double density : densities) {
        wanted_.push_back(one);
        wanted_.back().stripe_density = density;
      }
    } else if (std::none_of(wanted_.begin(), wanted_.end(),
                            [&](const Wanted& w) { return w.baseline && w.method == run.method; })) {
      wanted_.push_back(one);
    }
  }
  if (!densities.empty() && !used)
    fail_usage("--stripe-density: no chosen method selects stripes by a threshold");
}

/// The rows of a task before anything is computed, with their units.
std::vector<Entry> Job::entries(const LayerTask& task) const {
  std::vector<std::uint64_t> content = source_.content(task);
  content.push_back(options_.warm);
  std::vector<Entry> entries;
  for (const Wanted& wanted : wanted_) {
    Entry entry{.wanted = &wanted, .row = source_.row(task)};
    ResultRow& row = entry.row;
    stamp(row, *engine_, options_.argv);
    row.method = wanted.name;
    row.params = wanted.params.values();
    if (!wanted.method) row.path = wanted.name;
    row.extra["cache"] = options_.warm ? "warm" : "cold";
    if (wanted.stripe_density) {
      row.target = Target{"stripe_density", "layer", *wanted.stripe_density};
      row.params.erase(wanted.method->knob);
      row.extra["knob"] = wanted.method->knob;
    }
    if (searches(wanted)) {
      row.target = match_;
      row.params.erase(wanted.method->knob);
      row.params.erase(wanted.method->second_budget);
      row.extra["knob"] = wanted.method->knob;
    }
    if (thresholds_ && !wanted.baseline) {
      row.params.erase(thresholds_->knob);
      row.extra["thresholds"] = options_.thresholds;
    }
    std::vector<std::uint64_t> identity = content;
    const PlanRequest asked = request(wanted, task);
    for (const double knob : asked.knobs) identity.push_back(std::bit_cast<std::uint64_t>(knob));
    for (const Params& own : asked.head_params) {
      Checksum hash;
      const std::string text = scalars_json(own.values()).dump();
      hash.add(std::as_bytes(std::span(text)));
      identity.push_back(hash.value());
      for (const auto& [name, value] : own.values())  // the row cannot say what differs between heads
        if (value != wanted.params.values().at(name)) row.params.erase(name);
    }
    row.unit = unit_id(row, identity);
    entries.push_back(std::move(entry));
  }
  return entries;
}

PlanRequest Job::request(const Wanted& wanted, const LayerTask& task) const {
  PlanRequest request{wanted.params, {}};
  if (thresholds_ && !wanted.baseline)
    thresholds_->apply(*wanted.method, task.layer, source_.heads(), options_.thresholds, request);
  return request;
}

/// Makes the entry's pipeline, runs it once and compares the result with the reference.
void Job::prepare(Entry& entry, const KvGroup& layer, const Inputs& inputs, const LayerTask& task) {
  const Wanted& wanted = *entry.wanted;
  PlanRequest request = this->request(wanted, task);
  try {
    if (wanted.stripe_density) {
      const FoundKnob found = knob_for_stripe_density(*engine_, inputs, layer, *wanted.method, wanted.params,
                                                      *wanted.stripe_density);
      request.params.set(wanted.method->knob, found.knob);
      entry.row.params = request.params.values();
      entry.row.value = found.knob;
    }
    if (searches(wanted)) match(entry, inputs, request);
    entry.pipeline = wanted.method ? engine_->pipeline(*wanted.method, request, inputs)
                                   : engine_->library_pipeline(inputs);
    entry.row.path = entry.pipeline->path();
    entry.row.plan_path = entry.pipeline->plan_path();
    entry.pipeline->run(!options_.warm);
    check(entry, layer, request);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    entry.row.status = wanted.method || entry.pipeline ? "error" : "skipped";
    entry.row.error = error.what();
    entry.pipeline.reset();
  }
}

/// Finds the knob that meets the target, and puts it into the request.
void Job::match(Entry& entry, const Inputs& inputs, PlanRequest& request) {
  const Method& method = *entry.wanted->method;
  if (!dense_) dense_ = engine_->dense_reference(inputs);
  const Match found = match_knob(*engine_, inputs, *dense_, method, request, *match_);
  ResultRow& row = entry.row;
  request = found.request;
  row.params = request.params.values();
  if (thresholds_) row.params.erase(method.knob);  // the heads'
  row.value = found.knob;
  row.mass_recall = found.kept.mass_recall;
  row.out_rel_l2 = found.kept.out_rel_l2;
  row.extra["searched_plans"] = static_cast<double>(found.plans);
  if (found.met) return;
  entry.check_failed = true;
  fail("{} = {} is not met: at {} = {} the mass recall is {:.4f} and the output error {:.4f}", match_->metric,
       match_->value, method.knob, *row.value, found.kept.mass_recall, found.kept.out_rel_l2);
}

void Job::check(Entry& entry, const KvGroup& layer, const PlanRequest& request) {
  const SparsePlan plan = entry.pipeline->plan();
  ResultRow& row = entry.row;
  if (const std::string broken = validate(plan); !broken.empty()) fail("the plan is broken: {}", broken);
  if (plan.pv_skip) fail("checks know no pv_skip: set pv=inf");
  entry.stats = layer_stats(plan);
  row.density = entry.stats.density();
  row.work_density = entry.stats.work_density();
  row.stripe_density = entry.stats.stripe_density();

  const auto rows = sample_rows(layer.geometry, plan.group_rows(), options_.sampled_rows, 1);
  const SampledError error = sampled_error(layer, plan, rows, entry.pipeline->rows(rows), layer.q.dtype);
  row.extra["checked_rows"] = static_cast<double>(rows.size());
  row.extra["check_out"] = error.out;
  row.extra["check_lse"] = error.lse;
  if (!error.ok()) {
    entry.check_failed = true;
    fail(
        "check failed: head {} row {} differs from the reference by {:.3g} (out) and {:.3g} (lse) times what "
        "rounding allows",
        error.worst.head, error.worst.row, error.out, error.lse);
  }
  if (row.plan_path != "cuda") return;
  const Method& method = *entry.wanted->method;
  if (!selects_stripes(method, request.params, layer.geometry)) {
    if (layer.geometry.q_len > most_checked_tokens) return;
    const GroupAgreement plans = group_agreement(layer, plan, method, request, 0);
    row.extra["checked_entries"] = static_cast<double>(plans.entries);
    row.extra["borderline_entries"] = static_cast<double>(plans.different);
    if (plans.different * 50 <= plans.entries) return;
    entry.check_failed = true;
    fail("check failed: {} of {} blocks and columns differ from the CPU planner's", plans.different,
         plans.entries);
  }
  const PlanAgreement plans =
      plan_agreement(layer, plan, method, request, entry.pipeline->knob_rounding(), checked_plan_rows);
  row.extra["checked_columns"] = static_cast<double>(plans.columns);
  row.extra["borderline_columns"] = static_cast<double>(plans.different);
  if (plans.wrong > 0 || !plans.blocks_equal) {
    entry.check_failed = true;
    fail("check failed: {} of {} columns differ from the CPU planner's by more than rounding{}", plans.wrong,
         plans.columns, plans.blocks_equal ? "" : ", and blocks differ");
  }
}

void Job::time(std::vector<Entry>& entries) {
  std::vector<Contender> contenders;
  std::vector<Entry*> timed;
  for (Entry& entry : entries) {
    if (!entry.pipeline) continue;
    timed.push_back(&entry);
    contenders.push_back({entry.wanted->name, [&] { return entry.pipeline->run(!options_.warm); }});
  }
  const std::vector<Measurement> results =
      measure(contenders, {.relative_width = options_.interval, .seconds = options_.time_limit});
  const DeviceState state = engine_->state();
  for (std::size_t n = 0; n < timed.size(); ++n) {
    Entry& entry = *timed[n];
    ResultRow& row = entry.row;
    for (const auto& [name, version] : state.versions) row.env[name] = version;
    for (const auto& [name, value] : state.readings) row.env[name] = value;
    if (!results[n].samples_ns.empty()) row.time_ns["total"] = results[n].samples_ns;
    if (!results[n].error.empty()) {
      row.status = "error";
      row.error = results[n].error;
      entry.pipeline.reset();
      continue;
    }
    const MedianInterval total = median_interval(results[n].samples_ns);
    row.stats = {total.median, total.low, total.high, static_cast<int>(results[n].samples_ns.size())};
    row.extra["ci95_percent"] = 100 * (total.high - total.low) / total.median;
    row.extra["settled"] = results[n].settled ? 1. : 0.;
    const double flop_per_pair = 4. * row.geometry->head_dim;
    const auto rate = [&](std::int64_t pairs, double ns) {
      return flop_per_pair * static_cast<double>(pairs) / (ns * 1e3);
    };
    row.extra["tflops_dense"] = rate(entry.stats.causal_pairs, total.median);
    row.extra["tflops_useful"] = rate(entry.stats.visible_pairs, total.median);
    if (matmul_tflops_) {
      row.extra["matmul_tflops"] = *matmul_tflops_;
      row.extra["peak_percent"] = 100 * rate(entry.stats.visible_pairs, total.median) / *matmul_tflops_;
    }
    std::map<std::string, std::vector<std::int64_t>> stages;
    for (int run = 0; run < stage_runs; ++run)
      for (const auto& [stage, ns] : entry.pipeline->stages(!options_.warm)) stages[stage].push_back(ns);
    for (const auto& [stage, samples] : stages)
      row.stages_ns[stage] = std::llround(median_interval(samples).median);
    if (const auto stripes = row.stages_ns.find("stripes"); stripes != row.stages_ns.end())
      row.extra["tflops_stripes"] = rate(entry.stats.stripe_pairs, static_cast<double>(stripes->second));
  }
}

void Job::speed_ups(std::vector<Entry>& entries) const {
  for (const Entry& baseline : entries) {
    if (!baseline.wanted->baseline || !baseline.row.stats) continue;
    for (Entry& entry : entries)
      if (entry.row.stats)
        entry.row.extra["speedup_" + baseline.wanted->name] =
            baseline.row.stats->median_ns / entry.row.stats->median_ns;
  }
}

void Job::run_task(const LayerTask& task, std::vector<Entry>& entries) {
  try {
    const KvGroup layer = source_.load(task);
    const std::unique_ptr<Inputs> inputs = engine_->upload(layer);
    if (!matmul_tflops_) matmul_tflops_ = engine_->matmul_tflops(layer.q.dtype);
    for (Entry& entry : entries) prepare(entry, layer, *inputs, task);
    dense_.reset();
    time(entries);
    speed_ups(entries);
    for (Entry& entry : entries) entry.pipeline.reset();  // before the inputs
  } catch (const Error& error) {
    dense_.reset();
    if (error.kind() != ErrorKind::data) throw;
    for (Entry& entry : entries) {
      if (entry.row.status != "ok" || entry.row.stats) continue;
      entry.row.status = "error";
      entry.row.error = error.what();
    }
  }
}

std::vector<Column> columns_for_eyes(const std::vector<Wanted>& wanted) {
  std::vector<Column> columns{{"geometry.q_len", -1, "tokens"},   {"method"},
                              {"params.step", -1, "step"},        {"stripe_density", 4, "stripes"},
                              {"stats.median_ns", 3, "ms", 1e-6}, {"ci95_percent", 1, "+-%", 0.5}};
  for (const Wanted& one : wanted)
    if (one.baseline) columns.push_back({"speedup_" + one.name, 2, "x " + one.name});
  for (Column column :
       {Column{"tflops_dense", 0, "dense TF/s"}, Column{"tflops_useful", 0, "useful"},
        Column{"peak_percent", 0, "% peak"}, Column{"stages_ns.anchor", 3, "anchor ms", 1e-6},
        Column{"stages_ns.identify", 3, "identify", 1e-6}, Column{"stages_ns.stripes", 3, "stripes", 1e-6},
        Column{"stages_ns.plan", 3, "plan ms", 1e-6}, Column{"stages_ns.execute", 3, "execute", 1e-6},
        Column{"density", 4}, Column{"value", 4, "knob"}, Column{"mass_recall", 4, "recall"},
        Column{"out_rel_l2", 4, "rel l2"}})
    columns.push_back(std::move(column));
  return columns;
}

std::vector<Column> columns_for_files() {
  std::vector<Column> all;
  for (const char* name : {"status",
                           "error",
                           "dump.path",
                           "dump.layer",
                           "dump.model",
                           "geometry.q_heads",
                           "geometry.kv_heads",
                           "geometry.q_len",
                           "geometry.kv_len",
                           "geometry.head_dim",
                           "geometry.dtype",
                           "method",
                           "params.theta",
                           "params.step",
                           "params.mode",
                           "device",
                           "path",
                           "plan_path",
                           "cache",
                           "density",
                           "work_density",
                           "stripe_density",
                           "value",
                           "mass_recall",
                           "out_rel_l2",
                           "stats.median_ns",
                           "stats.ci95_ns",
                           "stats.n",
                           "settled",
                           "stages_ns.anchor",
                           "stages_ns.identify",
                           "stages_ns.stripes",
                           "stages_ns.plan",
                           "stages_ns.execute",
                           "speedup_cudnn",
                           "speedup_dense",
                           "tflops_dense",
                           "tflops_useful",
                           "tflops_stripes",
                           "peak_percent",
                           "matmul_tflops",
                           "env.sm_clock_mhz",
                           "env.temperature_c",
                           "env.power_w",
                           "unit"})
    all.push_back({name});
  return all;
}

int Job::run() {
  engine_ = cli::open_engine(options_.common);
  want_baselines();
  want_methods();
  cli::RunShell shell(options_.common, columns_for_eyes(wanted_), columns_for_files());
  bool checks_failed = false;
  cli::Progress progress("bench: layer", static_cast<std::int64_t>(source_.tasks().size()),
                         options_.common.quiet);
  std::int64_t done = 0;
  shell.run([&] {
    for (const LayerTask& task : source_.tasks()) {
      check_interrupt();
      progress.update(done++, fmt::format("{} tokens", task.tokens));
      std::vector<Entry> rows = entries(task);
      const bool finished = std::ranges::all_of(
          rows, [&](const Entry& entry) { return shell.finished(entry.row.unit) != nullptr; });
      if (!finished) run_task(task, rows);
      progress.clear();
      for (const Entry& entry : rows) {
        shell.emit_result(entry.row);
        checks_failed = checks_failed || entry.check_failed;
      }
    }
  });
  shell.output().finish();  // rows of checks that failed are kept
  if (checks_failed) return 4;
  if (shell.succeeded() == 0) fail("nothing was timed: {}", shell.first_error());
  return shell.exit_code();
}

}  // namespace

void setup(CLI::App& app, Options& options) {
  app.footer(
      R"(anchor-bench --seq 1k,2k --dim 64 --step 1 --time-limit 1 --device cpu
  | tokens | method | step | stripes |      ms | +-% | x dense | dense TF/s |
  |-------:|-------:|-----:|--------:|--------:|----:|--------:|-----------:|
  |   1024 |  dense |    - |  0.0000 |  75.490 | 7.8 |    1.00 |          0 |
  |   1024 | anchor |    1 |  0.3119 | 102.246 | 4.7 |    0.74 |          0 |
  |   2048 |  dense |    - |  0.0000 | 253.452 | 2.8 |    1.00 |          0 |
  |   2048 | anchor |    1 |  0.4029 | 274.163 | 2.7 |    0.92 |          0 |
anchor-bench --seq 8k-128k*2 --step 1,16 --stripe-density 0.03 -o bench.jsonl
anchor-bench --dump D.h5 --layers 12 --thresholds T.json --baseline cudnn)");
  cli::add_common(app, options.common);
  cli::add_device(app, options.common);
  cli::add_output(app, options.common);
  cli::add_method(app, options.method, options.argv);
  add_data(app, options.data);
  constexpr const char* group = "Measurement";
  app.add_option("--baseline", options.baselines,
                 "cudnn, dense, both or none (default: cudnn, or dense on the CPU)")
      ->type_name("LIST")
      ->group(group);
  app.add_option("--thresholds", options.thresholds, "A knob per head from anchor-sweep's file (with --dump)")
      ->type_name("T.json")
      ->group("Method");
  app.add_option(
         "--stripe-density", options.stripe_density,
         "Find the knob whose stripes hold this share of the causal pairs; a list makes a run of each")
      ->type_name("LIST")
      ->group("Method");
  app.add_option(
         "--match", options.match,
         "Find every method's knob that keeps mass_recall=X, or errs by out_rel_l2=X, on the layer (with "
         "--thresholds: what to add to all); then time it")
      ->type_name("METRIC=X")
      ->group("Method");
  app.add_flag("--warm", options.warm, "Leave in the cache what the same run left there (default: flushed)")
      ->group(group);
  app.add_option("--time-limit", options.time_limit, "Seconds per method and length")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--interval", options.interval,
                 "Stop when the median's 95 % interval is narrower than this share of it")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--checked-rows", options.sampled_rows,
                 "Query rows compared with the float64 reference before timing")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
}

int run(const Options& options, const CLI::App& app) { return Job(options, app).run(); }

}  // namespace anchor::bench
