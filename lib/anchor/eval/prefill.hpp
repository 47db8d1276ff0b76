#pragma once

#include <optional>
#include <set>

#include "anchor/eval/answer_score.hpp"
#include "anchor/eval/head_evidence.hpp"
#include "anchor/eval/question.hpp"
#include "anchor/model/model_runner.hpp"

namespace anchor {

/// How a question is read.
struct PrefillOptions {
  std::optional<RopeScaling> rope_scaling = {};  ///< beyond the model's context; none = as the file says

  std::set<int> dense_layers;  ///< layers that keep everything
  bool dense_decode = true;    ///< the answer's own rows see everything, as in a model that prefills sparsely
};

/// A question, read.
struct Reading {
  Logits answer, inner;  ///< the logits that predict Question::answer and ::inner
  double density = 1;    ///< of the prompt's plans: kept pairs over those that causality and windows allow
  /// Share of (layer, head, evidence token) that the plan keeps for the prompt's last row, of those that the
  /// layer's window holds; none without evidence there.
  std::optional<double> evidence_kept;
  HeadEvidence evidence_by_head;       ///< the same, head by head
  std::optional<double> attention_ms;  ///< TextResult::attention_ms
};

/// Reads a question with dense attention.
Reading read_dense(ModelRunner& runner, const Question& question, const PrefillOptions& options = {});

/// Reads a question with a method in every layer: the prompt's rows by its plan. `attention` is new: it keeps
/// the state and the statistics of one prompt. In layers with a sliding window it chooses among the keys of
/// the window.
Reading read_sparse(ModelRunner& runner, const Question& question, MethodAttention& attention,
                    const PrefillOptions& options);

}  // namespace anchor
