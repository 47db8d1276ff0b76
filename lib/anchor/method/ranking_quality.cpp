#include <algorithm>
#include <cmath>

#include "anchor/attention/attention.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/mass/mass_map.hpp"
#include "anchor/method/a2ats.hpp"
#include "anchor/method/order.hpp"

namespace anchor {
namespace {

/// Sums over rows, kept apart by tile and added in order.
struct QualitySums {
  double rows = 0, found = 0;              ///< rows with far keys to keep; of the exact top K the share found
  double mass = 0, best_mass = 0;          ///< of what was found, and of the exact top K
  double error = 0, variance = 0;          ///< against the true scores
  double own_error = 0, own_variance = 0;  ///< against the ranking without codes

  void add(const QualitySums& other) {
    rows += other.rows, found += other.found;
    mass += other.mass, best_mass += other.best_mass;
    error += other.error, variance += other.variance;
    own_error += other.own_error, own_variance += other.own_variance;
  }
};

/// Adds the squared error of scores, and the squared deviation of what they stand for from its mean.
void add_errors(std::span<const float> scores, std::span<const float> truth, double& error,
                double& variance) {
  double mean = 0;
  for (const float s : truth) mean += static_cast<double>(s) / static_cast<double>(truth.size());
  for (std::size_t n = 0; n < truth.size(); ++n) {
    const auto true_score = static_cast<double>(truth[n]);
    const double off = static_cast<double>(scores[n]) - true_score;
    error += off * off;
    variance += (true_score - mean) * (true_score - mean);
  }
}

/// Bits that ranking reads of a far key; keys are stored in 16 bits an element.
double bits_per_key(const RetrievalRule& rule, int dim) {
  using Rank = RetrievalRule::Rank;
  if (rule.rank == Rank::vq) return rule.codebook->bits();
  if (rule.rank == Rank::quest) return 2. * dim;  // two vectors for 16 keys
  return rule.rank == Rank::random ? 0 : 16. * dim;
}

}  // namespace

std::map<std::string, double> ranking_quality(const AttentionInputs& inputs, int head,
                                              const PlanRequest& request) {
  using Rank = RetrievalRule::Rank;
  const Geometry& g = inputs.geometry;
  const RetrievalRule rule = retrieval_rule(request.params);
  const double topk = request.knob("topk", head);
  RetrievalRule exact_rule = rule, own_rule = rule;
  exact_rule.rank = Rank::exact;
  const bool coded = rule.rank == Rank::vq, scored = coded || rule.rank == Rank::keys;
  own_rule.rank = coded && rule.codebook->rope == "windowed" ? Rank::keys : Rank::exact;
  const int kv = g.kv_head(head);
  const FarScores ranked(inputs, kv, rule), exact(inputs, kv, exact_rule), own(inputs, kv, own_rule);
  const std::vector<double> lse = cpu_lse(inputs.head(head));

  const std::int64_t tiles = (g.q_len + far_rows_at_once - 1) / far_rows_at_once;
  std::vector<QualitySums> sums(static_cast<std::size_t>(tiles));
  parallel_for(tiles, [&](std::int64_t tile) {
    const std::int64_t first = tile * far_rows_at_once, rows = std::min(far_rows_at_once, g.q_len - first);
    const std::int64_t ld = rule.end_far(g.q_start + first + rows - 1);
    if (ld <= rule.first_far()) return;
    const auto size = static_cast<std::size_t>(rows * ld);
    AlignedVector<float> score(size), truth(size), unquantised(size);
    ranked.rows(head, first, rows, score.data(), ld);
    exact.rows(head, first, rows, truth.data(), ld);
    if (coded) own.rows(head, first, rows, unquantised.data(), ld);
    QualitySums& sum = sums[static_cast<std::size_t>(tile)];
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t position = g.q_start + first + r, count = far_count(rule, topk, position);
      if (count == 0) continue;
      const auto begin = static_cast<std::size_t>(r * ld + rule.first_far());
      const auto far = static_cast<std::size_t>(rule.end_far(position) - rule.first_far());
      const std::span<const float> s(score.data() + begin, far), t(truth.data() + begin, far);
      const std::vector<std::int32_t> found = top(s, count), best = top(t, count);
      std::vector<std::int32_t> both;
      std::set_intersection(found.begin(), found.end(), best.begin(), best.end(), std::back_inserter(both));
      const auto mass_of = [&](const std::vector<std::int32_t>& keys) {
        double mass = 0;
        for (const std::int32_t key : keys)
          mass += std::exp(static_cast<double>(t[static_cast<std::size_t>(key)]) -
                           lse[static_cast<std::size_t>(first + r)]);
        return mass;
      };
      sum.rows += 1;
      sum.found += static_cast<double>(both.size()) / static_cast<double>(count);
      sum.mass += mass_of(found);
      sum.best_mass += mass_of(best);
      if (scored) add_errors(s, t, sum.error, sum.variance);
      if (coded) add_errors(s, {unquantised.data() + begin, far}, sum.own_error, sum.own_variance);
    }
  });
  QualitySums all;
  for (const QualitySums& sum : sums) all.add(sum);
  std::map<std::string, double> found{{"bits_per_key", bits_per_key(rule, g.head_dim)}};
  if (all.rows == 0) return found;
  found["topk_recall"] = all.found / all.rows;
  if (all.best_mass > 0) found["relative_mass"] = all.mass / all.best_mass;
  if (all.variance > 0) found["score_nmse"] = all.error / all.variance;
  if (all.own_variance > 0) found["score_nmse_own"] = all.own_error / all.own_variance;
  return found;
}

}  // namespace anchor
