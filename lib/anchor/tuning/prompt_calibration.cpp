#include "anchor/tuning/prompt_calibration.hpp"

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

namespace anchor {

void check_calibration(const MethodRun& run) {
  const Method& method = *run.method;
  if (!method.calibration_floor) fail_usage("no paper has such a rule for {}", method.name);
  const double start = run.params.real(method.knob);
  if (start <= *method.calibration_floor)
    fail_usage("{} must start above {}", method.knob, format_number(*method.calibration_floor));
  if (!std::isfinite(start))
    fail_usage("{} must start at a number: halves of infinity never end", method.knob);
}

void calibrate_prompts(const DumpStream& stream, std::span<const DumpReader* const> prompts,
                       const std::vector<GroupSelection>& groups, const MethodRun& run, double error,
                       const std::function<void(const CalibratedGroup&)>& use) {
  check_calibration(run);
  std::vector<StreamItem> items;  // the prompts of a group one after the other
  std::vector<std::vector<double>> knobs;
  for (const GroupSelection& group : groups) {
    knobs.emplace_back(group.heads.size(), run.params.real(run.method->knob));
    for (const DumpReader* prompt : prompts) items.push_back({prompt, group});
  }
  std::vector<CalibratedGroup> found(items.size());
  const auto compute = [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
    try {
      if (!loaded.error.empty()) fail("{}", loaded.error);
      const auto inputs = engine.upload(loaded.group);
      const auto dense = engine.dense_reference(*inputs);
      std::vector<double>& own = knobs[n / prompts.size()];
      const auto replays =
          calibrate(engine, *inputs, *run.method, run.params, error, items[n].group.locals(), own, *dense);
      for (std::size_t h = 0; h < replays.size(); ++h)
        found[n].heads.push_back({own[h], replays[h], row_l1(replays[h].difference, inputs->geometry())});
    } catch (const Error& failure) {
      if (failure.kind() != ErrorKind::data) throw;
      found[n].error = failure.what();
    }
  };
  const auto finish = [&](std::size_t n) {
    found[n].index = n / prompts.size();
    found[n].prompt = n % prompts.size();
    use(found[n]);
    found[n] = {};
  };
  stream.run("calibrate: KV group", items, {.wanted = {}, .compute = compute, .finish = finish});
}

}  // namespace anchor
