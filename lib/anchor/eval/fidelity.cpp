#include "anchor/eval/fidelity.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "anchor/eval/binomial.hpp"
#include "anchor/metrics/recall.hpp"

namespace anchor {
namespace {

/// Sets the quantities of the divergences.
void summarise(std::vector<double> divergences, EvalResult& result) {
  if (divergences.empty()) return;
  result.kl_mean =
      std::accumulate(divergences.begin(), divergences.end(), 0.) / static_cast<double>(divergences.size());
  result.kl_max = *std::max_element(divergences.begin(), divergences.end());
  result.kl_p999 = percentile(std::move(divergences), 99.9);
}

}  // namespace

EvalResult answer_result(const AnswerScore& score, const AnswerScore& dense) {
  EvalResult result;
  result.n = 1;
  result.dense_accuracy = dense.right;
  result.accuracy = score.right;
  result.flips = dense.right && !score.right;
  result.flips_high = 1;
  result.log_probability = score.log_probability;
  result.dense_log_probability = dense.log_probability;
  result.kl = score.divergence;
  result.same_top =
      score.divergence.empty() ? 0 : score.same_top / static_cast<double>(score.divergence.size());
  summarise(score.divergence, result);
  return result;
}

EvalResult fidelity(std::span<const EvalResult> questions) {
  EvalResult sum;
  int dense_right = 0, right = 0, with_evidence = 0, timed = 0;
  double same_top = 0, evidence = 0, milliseconds = 0;
  std::vector<double> divergences;
  for (const EvalResult& one : questions) {
    ++sum.n;
    dense_right += one.dense_accuracy > 0.5;
    right += one.accuracy > 0.5;
    sum.flips += one.flips;
    same_top += one.same_top * static_cast<double>(one.kl.size());
    divergences.insert(divergences.end(), one.kl.begin(), one.kl.end());
    if (one.evidence_kept) {
      evidence += *one.evidence_kept;
      ++with_evidence;
    }
    if (one.attention_ms) {
      milliseconds += *one.attention_ms;
      ++timed;
    }
  }
  if (sum.n == 0) return sum;
  sum.dense_accuracy = static_cast<double>(dense_right) / sum.n;
  sum.accuracy = static_cast<double>(right) / sum.n;
  std::tie(sum.flips_low, sum.flips_high) = clopper_pearson(sum.flips, dense_right);
  if (!divergences.empty()) sum.same_top = same_top / static_cast<double>(divergences.size());
  if (with_evidence > 0) sum.evidence_kept = evidence / with_evidence;
  if (timed > 0) sum.attention_ms = milliseconds / timed;
  summarise(std::move(divergences), sum);
  return sum;
}

}  // namespace anchor
