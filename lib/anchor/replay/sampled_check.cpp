#include "anchor/replay/sampled_check.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

double unit_roundoff(DType dtype) {
  return dtype == DType::bf16 ? 0x1p-8 : dtype == DType::f16 ? 0x1p-11 : 0x1p-24;
}

/// One stored row as float64.
std::vector<double> stored_row(const Tensor& tensor, std::int64_t head, std::int64_t row) {
  const auto dim = static_cast<std::size_t>(tensor.shape[2]);
  std::vector<float> values(dim);
  const auto at = static_cast<std::size_t>(head * tensor.shape[1] + row) * dim;
  to_float(tensor.dtype, tensor.bytes.data() + at * size_of(tensor.dtype), values);
  return {values.begin(), values.end()};
}

/// The keys that a row sees, and how often each counts in the output.
struct Visible {
  std::vector<std::int64_t> keys;
  std::vector<int> weight;
};

Visible visible_keys(const SparsePlan& plan, QueryRow at) {
  const std::int64_t row = plan.row_of(at.head, at.row), position = plan.geometry.q_start + at.row;
  Visible visible;
  const auto add = [&](std::int64_t j) {
    if (j < plan.geometry.kv_len && plan.allows(at.head, position, j)) visible.keys.push_back(j);
  };
  for (const std::int32_t start : plan.blocks[row])
    for (std::int64_t j = start; j < start + plan.block_width(start); ++j) add(j);
  for (const std::int32_t j : plan.columns[row]) add(j);
  visible.weight.assign(visible.keys.size(), 1);
  if (plan.dup.rows() > 0) {
    const auto dup = plan.dup[row];
    for (std::size_t n = 0; n < visible.keys.size(); ++n)
      visible.weight[n] += std::binary_search(dup.begin(), dup.end(), visible.keys[n]);
  }
  return visible;
}

/// The mean of stored rows [begin, begin + rows) as float64.
std::vector<double> mean_row(const Tensor& tensor, std::int64_t head, std::int64_t begin, std::int64_t rows) {
  std::vector<double> mean(static_cast<std::size_t>(tensor.shape[2]), 0);
  for (std::int64_t r = begin; r < begin + rows; ++r) {
    const std::vector<double> row = stored_row(tensor, head, r);
    for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += row[c] / static_cast<double>(rows);
  }
  return mean;
}

/// Keys that count through the mean of the block at `start` in a row's output.
struct Unlisted {
  std::int64_t start, keys;
};

std::vector<Unlisted> unlisted_keys(const SparsePlan& plan, QueryRow at) {
  std::vector<Unlisted> found;
  if (!plan.mean_correction) return found;
  const std::int64_t begin = at.row / plan.q_tile * plan.q_tile;
  const auto [first, last] =
      plan.mean_blocks(begin, std::min<std::int64_t>(plan.q_tile, plan.geometry.q_len - begin));
  for (std::int64_t start = first * plan.kv_tile; start < last * plan.kv_tile; start += plan.kv_tile) {
    const std::int64_t keys = plan.unlisted(plan.row_of(at.head, at.row), start);
    if (keys > 0) found.push_back({start, keys});
  }
  return found;
}

/// Spacing of the type's numbers near 0, where weights lose their relative precision.
double subnormal_step(DType dtype) { return dtype == DType::f16 ? 0x1p-24 : 0; }

/// What a channel of a row's output is made of, weights p summing to 1.
struct Channel {
  double mean = 0;      ///< sum p v
  double squares = 0;   ///< sum (p v)^2 of single keys
  double of_means = 0;  ///< sum p |v| of keys that count through means, and what rounded mean keys add to it
  double spread = 0;    ///< sum p |v|
  double values = 0;    ///< sum |v| of single keys
};

struct RowError {
  double out = 0, lse = 0;
};

RowError row_error(const KvGroup& layer, const SparsePlan& plan, QueryRow at, std::span<const float> out,
                   double lse, DType dtype) {
  const Geometry& g = plan.geometry;
  const std::int64_t kv_head = g.kv_head(at.head);
  const auto dim = static_cast<std::size_t>(g.head_dim);
  const std::vector<double> q = stored_row(layer.q, at.head, at.row);
  const Visible visible = visible_keys(plan, at);
  std::vector<double> score(visible.keys.size());
  double top = -std::numeric_limits<double>::infinity(), magnitude = 0;
  for (std::size_t n = 0; n < score.size(); ++n) {
    const std::vector<double> k = stored_row(layer.k, kv_head, visible.keys[n]);
    double terms = 0;
    for (std::size_t c = 0; c < dim; ++c) {
      score[n] += q[c] * k[c];
      terms += std::abs(q[c] * k[c]);
    }
    score[n] *= g.softmax_scale;
    top = std::max(top, score[n]);
    magnitude = std::max(magnitude, terms * g.softmax_scale);  // a product's error goes with its terms
  }
  if (score.empty()) top = 0;  // a window may leave a row nothing but means
  double set_sum = 0, sum = 0;
  std::vector<Channel> channels(dim);
  // `doubt`: of a mean, how far rounding its key can move its score, in units of the roundoff.
  const auto add = [&](double weighted, const std::vector<double>& v, bool mean, double doubt = 0) {
    sum += weighted;
    for (std::size_t c = 0; c < dim; ++c) {
      const double part = weighted * v[c];
      channels[c].mean += part;
      channels[c].spread += std::abs(part);
      (mean ? channels[c].of_means : channels[c].squares) +=
          mean ? std::abs(part) * (1 + doubt) : part * part;
      if (!mean) channels[c].values += std::abs(v[c]);
    }
  };
  for (std::size_t n = 0; n < score.size(); ++n) {
    const double p = std::exp(score[n] - top);
    set_sum += p;
    add(p * visible.weight[n], stored_row(layer.v, kv_head, visible.keys[n]), false);
  }
  for (const auto& [start, keys] : unlisted_keys(plan, at)) {
    const std::vector<double> k = mean_row(layer.k, kv_head, start, plan.kv_tile);
    double dot = 0, squares = 0;
    for (std::size_t c = 0; c < dim; ++c) {
      dot += q[c] * k[c];
      squares += q[c] * k[c] * q[c] * k[c];
    }
    add(static_cast<double>(keys) * std::exp(dot * g.softmax_scale - top),
        mean_row(layer.v, kv_head, start, plan.kv_tile), true, g.softmax_scale * std::sqrt(squares));
  }
  RowError error;
  const auto share = [](double difference, double allowed) {
    if (difference == 0) return 0.;
    return std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::abs(difference) / allowed;
  };
  const double u = unit_roundoff(dtype), of_scores = 0x1p-16 + 0x1p-20 * magnitude;
  for (std::size_t c = 0; c < dim; ++c) {
    const Channel& in = channels[c];
    const double expected = sum == 0 ? 0 : in.mean / sum, scale = sum == 0 ? 0 : 1 / sum;
    // Rounded means move whole blocks' scores together: there, every key's share counts in full.
    const double keys = plan.mean_correction ? in.spread : 4 * std::sqrt(in.squares);
    const double allowed = u * (keys * scale + in.of_means * scale + std::abs(expected)) +
                           subnormal_step(dtype) * in.values * scale + of_scores * in.spread * scale;
    error.out = std::max(error.out, share(static_cast<double>(out[c]) - expected, allowed));
  }
  const double expected_lse = top + std::log(set_sum);
  error.lse = lse == expected_lse ? 0 : share(lse - expected_lse, 0x1p-15 + 0x1p-20 * magnitude);
  return error;
}

}  // namespace

std::vector<QueryRow> sample_rows(const Geometry& geometry, std::int64_t group_rows, int count,
                                  unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<QueryRow> rows;
  for (int head = 0; head < geometry.q_heads; ++head) rows.push_back({head, geometry.q_len - 1});
  for (const std::int64_t row :
       {std::int64_t{0}, std::int64_t{127}, std::int64_t{128}, group_rows - 1, group_rows}) {
    const int head = static_cast<int>(random() % static_cast<std::uint64_t>(geometry.q_heads));
    if (row < geometry.q_len) rows.push_back({head, row});
  }
  while (static_cast<int>(rows.size()) < count) {
    rows.push_back({static_cast<int>(random() % static_cast<std::uint64_t>(geometry.q_heads)),
                    static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(geometry.q_len))});
  }
  return rows;
}

SampledError sampled_error(const KvGroup& layer, const SparsePlan& plan, std::span<const QueryRow> rows,
                           const AttentionResult& result, DType out_dtype) {
  const auto dim = static_cast<std::size_t>(plan.geometry.head_dim);
  std::vector<RowError> errors(rows.size());
  parallel_for(static_cast<std::int64_t>(rows.size()), [&](std::int64_t i) {
    const auto n = static_cast<std::size_t>(i);
    errors[n] = row_error(layer, plan, rows[n], std::span(result.out).subspan(n * dim, dim), result.lse[n],
                          out_dtype);
  });
  SampledError worst;
  for (std::size_t n = 0; n < rows.size(); ++n) {
    if (std::max(errors[n].out, errors[n].lse) > std::max(worst.out, worst.lse)) worst.worst = rows[n];
    worst.out = std::max(worst.out, errors[n].out);
    worst.lse = std::max(worst.lse, errors[n].lse);
  }
  return worst;
}

}  // namespace anchor
