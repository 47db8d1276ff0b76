#include "anchor/eval/answer_score.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/parallel.hpp"

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
  score.divergence.resize(tokens.size());
  std::vector<double> log_probabilities(tokens.size());
  std::vector<std::int64_t> best(tokens.size()), dense_best(tokens.size());
  parallel_for(std::ssize(tokens), [&](std::int64_t n) {
    const auto i = static_cast<std::size_t>(n);
    const std::span<const float> ours = logits.row(n), whole = dense.row(n);
    const double norm = log_sum_exp(ours), dense_norm = log_sum_exp(whole);
    double divergence = 0;
    for (std::size_t token = 0; token < ours.size(); ++token) {
      const double log_p = static_cast<double>(whole[token]) - dense_norm;
      divergence += std::exp(log_p) * (log_p - (static_cast<double>(ours[token]) - norm));
    }
    score.divergence[i] = std::max(divergence, 0.);
    log_probabilities[i] = static_cast<double>(ours[static_cast<std::size_t>(tokens[i])]) - norm;
    best[i] = top(ours);
    dense_best[i] = top(whole);
  });
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    score.log_probability += log_probabilities[i];
    score.right = score.right && best[i] == tokens[i];
    score.same_top += best[i] == dense_best[i];
  }
  return score;
}

}  // namespace anchor
