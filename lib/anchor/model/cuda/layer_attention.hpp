#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "anchor/engine/cuda/plan.hpp"
#include "anchor/kernels/stats.hpp"
#include "anchor/model/cuda/device_values.hpp"
#include "anchor/model/model_runner.hpp"

namespace anchor {

/// Attention in the layers of one text on a device, dense or by a method's plans, which are counted and timed
/// there: what was counted comes to the host once, at the end.
///
/// What is timed is what anchor-bench times: making the plan in memory that is already there, and attention
/// under it. So a planner runs twice, once to learn how long its lists are.
class LayerAttention {
 public:
  struct Task {
    std::int64_t tokens = 0;
    std::int64_t prompt = 0;            ///< as TextRun's
    MethodAttention* method = nullptr;  ///< nullptr: dense
    std::set<int> whole_layers = {};    ///< where the method has nothing to do
    bool wants_lse = false;             ///< lse() is asked for
    bool timed = false;                 ///< milliseconds() is asked for
    std::span<const std::int64_t> evidence = {};
    std::int64_t evidence_row = 0;
    std::set<std::string>* warm = nullptr;  ///< methods whose kernels have run on this device, if timed
  };
  LayerAttention(const LanguageModel& model, const Task& task, const kernels::Stream& stream);

  /// Where projections write queries, keys and values of all tokens, and of the prompt alone where that is
  /// less (nullptr: it is not).
  CudaInputs& heads() { return whole_; }
  CudaInputs* prompt_heads() { return prompt_ ? &*prompt_ : nullptr; }
  /// The output, bf16 [token, q_heads, head_dim].
  const kernels::DeviceBuffer& out() const { return out_; }
  /// Natural log, [q_heads, tokens] of the layer.
  const std::vector<float>& lse() const { return host_lse_; }

  void run(int layer);

  /// Takes the counts to the method's statistics and to `result`.
  void finish(TextResult& result);

 private:
  bool planned(int layer) const;
  void part(int layer, const CudaInputs& inputs, std::int64_t begin, std::int64_t end, bool is_prompt);
  void planned_rows(const CudaInputs& inputs, const PlanRequest& request, std::int64_t begin,
                    std::int64_t end);
  void whole_rows(const CudaInputs& inputs, std::int64_t begin, std::int64_t end, bool is_prompt);
  kernels::SparseFwdParams launch(const CudaInputs& inputs, std::int64_t begin, std::int64_t end,
                                  const kernels::PlanParams& plan);
  void count(const CudaInputs& inputs, const kernels::PlanParams& plan, std::int64_t begin, std::int64_t end);
  template <class Body>
  void timed(bool counts, const std::string& method, Body body);
  void keep_evidence(TextResult& result) const;
  void keep_lse(std::int64_t begin, std::int64_t rows);

  const LanguageModel& model_;
  const ModelConfig& c_;
  Task task_;
  const kernels::Stream& stream_;
  CudaInputs whole_;
  std::optional<CudaInputs> prompt_;
  kernels::DeviceBuffer out_, lse_;
  std::vector<float> host_lse_;

  /// Plans of shapes alone serve every layer: with and without a window, of the prompt and of what follows.
  struct WholePlan {
    std::int64_t window, begin, end;
    CudaLists lists;
  };
  std::deque<WholePlan> whole_plans_;
  struct Counted {
    std::int64_t causal_pairs;
    kernels::DeviceBuffer pairs;  ///< kernels::PairCounts [q_heads]
  };
  std::vector<Counted> counted_;
  DeviceValues evidence_keys_, evidence_kept_;
  std::vector<bool> evidence_layers_;  ///< those whose plans were looked at
  int layer_ = 0;                      ///< at work
  int planned_layers_ = 0;
  std::deque<std::pair<kernels::Event, kernels::Event>> times_;
};

}  // namespace anchor
