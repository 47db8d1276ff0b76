#pragma once

#include <span>
#include <vector>

#include "anchor/eval/answer_score.hpp"
#include "anchor/rows/eval_result.hpp"

namespace anchor {

/// What a method did to one answer: n = 1, no interval.
EvalResult answer_result(const AnswerScore& score, const AnswerScore& dense);

/// What it did to many, from the results of single questions: flips with Clopper and Pearson's interval,
/// divergences over all their tokens, evidence as the mean over questions that have some. No questions:
/// zeros.
EvalResult fidelity(std::span<const EvalResult> questions);

/// Value at a share from 0 to 1 of the sorted values, between neighbours on a straight line; 0 if there are
/// none.
double quantile(std::vector<double> values, double share);

}  // namespace anchor
