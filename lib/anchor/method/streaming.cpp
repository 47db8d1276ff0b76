#include "anchor/method/method.hpp"

namespace anchor {
namespace {

constexpr double most_tokens = 1 << 30;

/// Every query keeps keys [0, sink) and its last `local` keys, itself included: i - j < local. Queries among
/// the last `dense_last` of the keys see everything. Token-exact through the plan's window; tiles that hold a
/// dense query list every key.
SparsePlan window_plan(const AttentionInputs& inputs, const PlanRequest& request, std::int64_t dense_last) {
  const Geometry& geometry = inputs.geometry;
  SparsePlan plan{.geometry = geometry};
  SparsePlan::Window window{
      .sink = request.params.integer("sink"), .local = {}, .dense_from = geometry.kv_len - dense_last};
  for (int head = 0; head < geometry.q_heads; ++head) {
    const auto local = static_cast<std::int64_t>(request.knob("local", head));
    window.local.push_back(local);
    for (std::int64_t g = 0; g < plan.groups(); ++g) {
      const std::int64_t first = geometry.q_start + g * plan.group_rows();
      const std::int64_t end = plan.group_end(g);
      const std::int64_t near = end > window.dense_from ? 0 : std::max<std::int64_t>(0, first - local + 1);
      if (near <= window.sink) {
        append_run(plan, 0, end, end);
      } else {
        append_run(plan, 0, window.sink, end);
        append_run(plan, near, end, end);
      }
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  plan.window = window;
  return plan;
}

ParamSpec tokens(std::string name, double value, double minimum, std::string help) {
  return {.name = std::move(name),
          .kind = ParamSpec::Kind::integer,
          .default_value = value,
          .minimum = minimum,
          .maximum = most_tokens,
          .help = std::move(help)};
}

Method window_method(std::string name, std::string title, std::string arxiv, double sink, double local) {
  return {.name = std::move(name),
          .title = std::move(title),
          .arxiv = std::move(arxiv),
          .knob = "local",
          .params = {tokens("sink", sink, 0, "initial keys that every query keeps"),
                     tokens("local", local, 1, "nearest keys that a query keeps, itself included")},
          .plan_cpu = [](const AttentionInputs& inputs,
                         const PlanRequest& request) { return window_plan(inputs, request, 0); },
          .plan_is_static = true};
}

const std::string minference_title =
    "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention";

}  // namespace

Method streaming_method() {
  return window_method("streaming", "Efficient Streaming Language Models with Attention Sinks", "2309.17453",
                       1024, 8192);
}

Method a_shape_method() { return window_method("a-shape", minference_title, "2407.02490", 128, 3968); }

Method tri_shape_method() {
  Method method = window_method("tri-shape", minference_title, "2407.02490", 128, 3968);
  method.params.push_back(tokens("last", 100, 0, "last queries, which see every key"));
  method.plan_cpu = [](const AttentionInputs& inputs, const PlanRequest& request) {
    return window_plan(inputs, request, request.params.integer("last"));
  };
  return method;
}

}  // namespace anchor
