#include "anchor/timing/layer_timing.hpp"

#include <bit>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/timing/measure.hpp"
#include "anchor/tuning/match.hpp"
#include "anchor/tuning/stripe_density.hpp"

namespace anchor {
namespace {

constexpr int stage_runs = 5;

}  // namespace

LayerTiming::LayerTiming(Engine& engine, const LayerSource& source, std::vector<TimedMethod> methods,
                         TimingSettings settings)
    : engine_(engine), source_(source), methods_(std::move(methods)), settings_(std::move(settings)) {}

bool LayerTiming::searches(const TimedMethod& method) const {
  return settings_.match && method.method && !method.baseline && !method.method->knob.empty();
}

PlanRequest LayerTiming::request(const TimedMethod& method, const LayerTask& task) const {
  PlanRequest request{method.params, {}};
  if (settings_.thresholds && !method.baseline)
    settings_.thresholds->apply(*method.method, task.layer, source_.heads(), settings_.thresholds_path,
                                request);
  return request;
}

/// What determines the rows of a task besides what they say themselves.
std::vector<std::uint64_t> LayerTiming::identity(const LayerTask& task) const {
  std::vector<std::uint64_t> content = source_.content(task);
  content.push_back(settings_.warm);
  for (const double setting : {settings_.seconds, settings_.relative_width})
    content.push_back(std::bit_cast<std::uint64_t>(setting));
  content.push_back(static_cast<std::uint64_t>(settings_.sampled_rows));
  content.push_back(option_hash(engine_.device()));
  if (engine_.device() == "cpu") content.push_back(static_cast<std::uint64_t>(threads()));
  for (const TimedMethod& method : methods_)  // rows say how much faster than these they are
    if (method.baseline) content.push_back(option_hash(method.name));
  return content;
}

std::vector<TimedRow> LayerTiming::templates(const LayerTask& task) const {
  const std::vector<std::uint64_t> content = identity(task);
  std::vector<TimedRow> rows;
  for (const TimedMethod& method : methods_) {
    ResultRow row = source_.row(task);
    stamp(row, engine_, settings_.argv);
    row.method = method.name;
    row.params = method.params.values();
    if (!method.method) row.path = method.name;
    // The CPU's cache is never flushed: it holds what the last run of any contender left there.
    row.extra["cache"] = engine_.device() == "cpu" ? "unflushed" : settings_.warm ? "warm" : "cold";
    if (method.stripe_density) {
      row.target = Target{"stripe_density", "layer", *method.stripe_density};
      row.params.erase(method.method->knob);
      row.extra["knob"] = method.method->knob;
    }
    if (searches(method)) {
      row.target = settings_.match;
      row.params.erase(method.method->knob);
      row.params.erase(method.method->second_budget);
      row.extra["knob"] = method.method->knob;
    }
    if (settings_.thresholds && !method.baseline) {
      row.params.erase(settings_.thresholds->knob);
      row.extra["thresholds"] = settings_.thresholds_path;
    }
    std::vector<std::uint64_t> identity = content;
    const PlanRequest asked = request(method, task);
    for (const double knob : asked.knobs) identity.push_back(std::bit_cast<std::uint64_t>(knob));
    for (const Params& own : asked.head_params) {
      identity.push_back(option_hash(json_text(scalars_json(own.values()))));
      for (const auto& [name, value] : own.values())  // the row cannot say what differs between heads
        if (value != method.params.values().at(name)) row.params.erase(name);
    }
    row.unit = unit_id(row, identity);
    rows.push_back({std::move(row)});
  }
  return rows;
}

/// Finds the knob that meets the target, if there is one, and puts it into the request.
void LayerTiming::find_knob(const TimedMethod& method, TimedRow& timed, const Inputs& inputs,
                            const KvGroup& layer, PlanRequest& request,
                            std::unique_ptr<DenseReference>& dense) {
  ResultRow& row = timed.row;
  if (method.stripe_density) {
    const FoundKnob found = knob_for_stripe_density(engine_, inputs, layer, *method.method, method.params,
                                                    *method.stripe_density);
    request.params.set(method.method->knob, found.knob);
    row.params = request.params.values();
    row.value = found.knob;
  }
  if (!searches(method)) return;
  if (!dense) dense = engine_.dense_reference(inputs);
  const Target& target = *settings_.match;
  const Match found = match_knob(engine_, inputs, *dense, *method.method, request, target);
  request = found.request;
  row.params = request.params.values();
  if (settings_.thresholds) row.params.erase(method.method->knob);  // the heads'
  row.value = found.knob;
  row.mass_recall = found.kept.mass_recall;
  row.out_rel_l2 = found.kept.out_rel_l2;
  row.extra["searched_plans"] = static_cast<double>(found.plans);
  if (found.met) return;
  timed.check_failed = true;
  fail("{} = {} is not met: at {} = {} the mass recall is {:.4f} and the output error {:.4f}", target.metric,
       target.value, method.method->knob, *row.value, found.kept.mass_recall, found.kept.out_rel_l2);
}

/// Makes the method's pipeline, runs it once and compares the result with the reference.
LayerTiming::Ready LayerTiming::prepare(const TimedMethod& method, TimedRow& timed, const KvGroup& layer,
                                        const Inputs& inputs, const LayerTask& task,
                                        std::unique_ptr<DenseReference>& dense) {
  PlanRequest asked = request(method, task);
  ResultRow& row = timed.row;
  Ready ready;
  try {
    find_knob(method, timed, inputs, layer, asked, dense);
    ready.pipeline =
        method.method ? engine_.pipeline(*method.method, asked, inputs) : engine_.library_pipeline(inputs);
    row.path = ready.pipeline->path();
    row.plan_path = ready.pipeline->plan_path();
    ready.pipeline->run(!settings_.warm);
    const LayerCheck check =
        check_layer(*ready.pipeline, layer, method.method, asked, settings_.sampled_rows);
    ready.stats = check.stats;
    check.fill(row);
    timed.check_failed = !check.failure.empty();
    if (timed.check_failed) fail("{}", check.failure);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    row.status = method.method || ready.pipeline ? "error" : "skipped";
    row.error = error.what();
    ready.pipeline.reset();
  }
  return ready;
}

void LayerTiming::fill_times(ResultRow& row, Ready& ready) const {
  const double flop_per_pair = 4. * row.geometry->head_dim;
  const auto rate = [&](std::int64_t pairs, double ns) {
    return flop_per_pair * static_cast<double>(pairs) / (ns * 1e3);
  };
  const double median = row.stats->median_ns;
  if (row.stats->has_interval())
    row.extra["ci95_percent"] = 100 * (row.stats->ci95_high_ns - row.stats->ci95_low_ns) / median;
  row.extra["tflops_dense"] = rate(ready.stats.causal_pairs, median);
  row.extra["tflops_useful"] = rate(ready.stats.visible_pairs, median);
  if (matmul_tflops_) {
    row.extra["matmul_tflops"] = *matmul_tflops_;
    row.extra["peak_percent"] = 100 * rate(ready.stats.visible_pairs, median) / *matmul_tflops_;
  }
  std::map<std::string, std::vector<std::int64_t>> stages;
  for (int run = 0; run < stage_runs; ++run)
    for (const auto& [stage, ns] : ready.pipeline->stages(!settings_.warm)) stages[stage].push_back(ns);
  for (const auto& [stage, samples] : stages)
    row.stages_ns[stage] = std::llround(median_interval(samples).median);
  if (const auto stripes = row.stages_ns.find("stripes"); stripes != row.stages_ns.end())
    row.extra["tflops_stripes"] = rate(ready.stats.stripe_pairs, static_cast<double>(stripes->second));
}

void LayerTiming::time(std::vector<TimedRow>& rows, std::vector<Ready>& ready) {
  std::vector<Contender> contenders;
  std::vector<std::size_t> timed;  // of the methods
  for (std::size_t n = 0; n < ready.size(); ++n) {
    if (!ready[n].pipeline) continue;
    timed.push_back(n);
    contenders.push_back({methods_[n].name, [&, n] { return ready[n].pipeline->run(!settings_.warm); }});
  }
  const std::vector<Measurement> results =
      measure(contenders, {.relative_width = settings_.relative_width, .seconds = settings_.seconds});
  const DeviceState state = engine_.state();
  for (std::size_t t = 0; t < timed.size(); ++t) {
    const Measurement& result = results[t];
    ResultRow& row = rows[timed[t]].row;
    for (const auto& [name, version] : state.versions) row.env[name] = version;
    for (const auto& [name, value] : state.readings) row.env[name] = value;
    if (!result.samples_ns.empty()) row.time_ns["total"] = result.samples_ns;
    if (!result.error.empty()) {
      row.fail(result.error);
      ready[timed[t]].pipeline.reset();
      continue;
    }
    const MedianInterval total = median_interval(result.samples_ns);
    row.stats = {.median_ns = total.median, .n = static_cast<int>(result.samples_ns.size())};
    if (total.valid) row.stats->ci95_low_ns = total.low, row.stats->ci95_high_ns = total.high;
    row.extra["settled"] = result.settled ? 1. : 0.;
    fill_times(row, ready[timed[t]]);
  }
}

void LayerTiming::speed_ups(std::vector<TimedRow>& rows) const {
  for (std::size_t n = 0; n < rows.size(); ++n) {
    const auto& baseline = rows[n].row.stats;
    if (!methods_[n].baseline || !baseline) continue;
    for (TimedRow& timed : rows)
      if (timed.row.stats)
        timed.row.extra["speedup_" + methods_[n].name] = baseline->median_ns / timed.row.stats->median_ns;
  }
}

void LayerTiming::run(const LayerTask& task, std::vector<TimedRow>& rows) {
  try {
    const KvGroup layer = source_.load(task);
    const std::unique_ptr<Inputs> inputs = engine_.upload(layer);
    if (!matmul_tflops_) matmul_tflops_ = engine_.matmul_tflops(layer.q.dtype);
    std::vector<Ready> ready;  // gone before the inputs
    std::unique_ptr<DenseReference> dense;
    for (std::size_t n = 0; n < rows.size(); ++n)
      ready.push_back(prepare(methods_[n], rows[n], layer, *inputs, task, dense));
    dense.reset();
    time(rows, ready);
    speed_ups(rows);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    for (TimedRow& timed : rows)
      if (timed.row.ok() && !timed.row.stats) timed.row.fail(error.what());
  }
}

}  // namespace anchor
