#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace anchor {

/// What a method does to a model's answers, in rows of kind eval: of one question (scope task) or of many.
/// The fields stand at the row's top level.
struct EvalResult {
  std::string task;                  ///< id of the question; of many: empty
  std::string task_kind;             ///< empty: of all kinds
  std::optional<int> task_length;    ///< tokens
  std::optional<double> task_depth;  ///< 0 to 1

  int n = 0;                                ///< questions
  double dense_accuracy = 0, accuracy = 0;  ///< shares that are right: every token the most likely one
  int flips = 0;                            ///< right with dense attention, wrong with the method
  double flips_low = 0, flips_high = 0;     ///< 95 % interval of the flips' share of what dense gets right
  double kl_mean = 0, kl_p999 = 0, kl_max = 0;  ///< KL(dense || method) over the answers' tokens, nats
  double same_top = 0;                          ///< share of tokens with the same most likely one

  std::optional<double>
      evidence_kept;  ///< share of (layer, head, evidence token) in the plan of the last row
  /// Milliseconds of attention of the prompt's rows on a CUDA device, planning included, summed over layers;
  /// of many: their mean.
  std::optional<double> attention_ms;
  std::optional<double> log_probability, dense_log_probability;  ///< of one answer, natural log
  std::vector<double> kl;                                        ///< of one question: token by token
};

}  // namespace anchor
