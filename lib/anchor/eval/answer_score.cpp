#include "anchor/eval/answer_score.hpp"

#include <algorithm>
#include <cmath>

namespace anchor {
namespace {

double log_sum_exp(std::span<const float> logits) {
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float one : logits) sum += std::exp(static_cast<double>(one) - largest);
  return largest + std::log(sum);
}

std::int64_t top(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

}  // namespace

AnswerScore score_answer(const Logits& logits, const Logits& dense, std::span<const int> tokens) {
  AnswerScore score;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::span<const float> ours = logits.row(static_cast<std::int64_t>(i)),
                                 whole = dense.row(static_cast<std::int64_t>(i));
    const double norm = log_sum_exp(ours), dense_norm = log_sum_exp(whole);
    double divergence = 0;
    for (std::size_t token = 0; token < ours.size(); ++token) {
      const double log_p = static_cast<double>(whole[token]) - dense_norm;
      divergence += std::exp(log_p) * (log_p - (static_cast<double>(ours[token]) - norm));
    }
    score.divergence.push_back(std::max(divergence, 0.));
    score.log_probability += static_cast<double>(ours[static_cast<std::size_t>(tokens[i])]) - norm;
    const std::int64_t best = top(ours);
    score.right = score.right && best == tokens[i];
    score.same_top += best == top(whole);
  }
  return score;
}

}  // namespace anchor
