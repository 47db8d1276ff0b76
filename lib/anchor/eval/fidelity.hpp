#pragma once

#include <span>

#include "anchor/eval/answer_score.hpp"
#include "anchor/rows/eval_result.hpp"

namespace anchor {

/// Kinds and lengths of which dense attention gets less than this right say little about a method: they are
/// marked, and left out of what speaks for all.
inline constexpr double least_dense_accuracy = 0.8;

/// What a method did to one answer: n = 1, no interval.
EvalResult answer_result(const AnswerScore& score, const AnswerScore& dense);

/// What it did to many, from the results of single questions: flips with Clopper and Pearson's interval,
/// divergences over all their tokens, evidence and milliseconds as the mean over questions that have them. No
/// questions: zeros.
EvalResult fidelity(std::span<const EvalResult> questions);

}  // namespace anchor
