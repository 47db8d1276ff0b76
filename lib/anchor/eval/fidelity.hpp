#pragma once

#include <span>
#include <vector>

#include "anchor/eval/answer_score.hpp"

namespace anchor {

/// One question, answered with dense attention and with a method.
struct Outcome {
  AnswerScore dense, sparse;  ///< of the answer and the answers in the middle together
  double density = 1;
};

/// What a method does to a model's answers, against dense attention on the same questions.
struct Fidelity {
  int n = 0;                                ///< questions
  double dense_accuracy = 0, accuracy = 0;  ///< shares that are right
  int flips = 0;                            ///< right with dense attention, wrong with the method
  double flips_low = 0, flips_high = 0;     ///< 95 % interval of the flips' share of what dense gets right
  double kl_mean = 0, kl_p999 = 0, kl_max = 0;  ///< KL(dense || method) of the answers' tokens, nats
  double same_top = 0;  ///< share of tokens at which both have the same most likely one
  double density = 0;   ///< mean
};

/// Sums outcomes up; n = 0 gives zeros.
Fidelity fidelity(std::span<const Outcome> outcomes);

/// Value at a share from 0 to 1 of the sorted values, between neighbours on a straight line; 0 if there are
/// none.
double quantile(std::vector<double> values, double share);

}  // namespace anchor
