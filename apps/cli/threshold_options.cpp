#include "cli/threshold_options.hpp"

#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

namespace anchor::cli {

MethodRun thresholds_run(const Thresholds& thresholds, const std::string& path,
                         const MethodOptions& options) {
  if (options.named && options.names != thresholds.method) {
    fail_usage("--method {} contradicts {}, which is for {}", options.names, path, thresholds.method);
  }
  MethodRun run;
  try {
    run.method = &find_method(thresholds.method);
    run.params = default_params(*run.method);
    for (const auto& [name, value] : thresholds.params)
      set_param(*run.method, run.params, name, scalar_text(value));
  } catch (const Error& error) {
    fail("{}: {}", path, error.what());
  }
  if (run.method->knob != thresholds.knob)
    fail("{}: {} has no knob {}", path, thresholds.method, thresholds.knob);

  MethodOptions flags = options;  // what the command line alone asks for, on top of the file's parameters
  flags.names = thresholds.method;
  for (const auto& [name, value] : run.params.values()) {
    const auto direct = flags.direct.find(name);
    bool given = direct != flags.direct.end() && !direct->second.empty();
    for (const std::string& text : flags.set) {
      given = given || text.starts_with(name + "=") || text.starts_with(thresholds.method + "." + name + "=");
    }
    if (!given) continue;
    if (name == thresholds.knob)
      fail_usage("--{} and --thresholds: the file sets {} for every head", name, name);
    for (const MethodRun& asked : resolve_methods(flags)) {
      if (asked.params.values().at(name) != value)
        fail_usage("--{} contradicts --thresholds {}, which was made with another {}", name, path, name);
    }
  }
  resolve_methods(flags);  // a flag that the method does not have
  return run;
}

void note_other_model(const Thresholds& thresholds, const std::string& path, const std::string& where,
                      const std::string& model, const CommonOptions& options) {
  if (thresholds.model.empty() || model.empty() || thresholds.model == model) return;
  options.note(fmt::format("warning: {} was fitted on the model {}; {} is of {}", path, thresholds.model,
                           where, model));
}

MethodAttention::ChooseHeads choose_heads(const Thresholds& thresholds, const std::string& path,
                                          const Method& method, const ModelConfig& config,
                                          const std::set<int>& dense_layers) {
  const Geometry shape{.q_heads = config.q_heads, .kv_heads = config.kv_heads, .head_dim = config.head_dim};
  std::vector<int> heads(static_cast<std::size_t>(config.q_heads));
  std::iota(heads.begin(), heads.end(), 0);
  for (int layer = 0; layer < config.layers; ++layer) {
    if (!dense_layers.contains(layer)) thresholds.check(method, layer, shape, heads, path);
  }
  return [thresholds, path, &method, heads](PlanRequest& request) {
    thresholds.apply(method, request.layer, heads, path, request);
  };
}

}  // namespace anchor::cli
