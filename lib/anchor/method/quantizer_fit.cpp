#include "anchor/method/quantizer_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "anchor/base/counter_random.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/quantizer.hpp"

namespace anchor {
namespace {

constexpr std::int64_t keys_at_once = 512;

/// k-means of one part: runs of `width` floats that lie `dim` apart, both as queries see keys (z) and as they
/// are (the keys), whose means become the centroids.
class PartMeans {
 public:
  PartMeans(const float* z, const float* keys, std::int64_t count, std::int64_t dim, std::int64_t width,
            const QuantizerFit& fit)
      : z_(z),
        keys_(keys),
        count_(count),
        dim_(dim),
        width_(width),
        codes_(fit.codes),
        seen_(static_cast<std::size_t>(fit.codes * width)),
        mean_(seen_.size()),
        ids_(static_cast<std::size_t>(count)) {}

  void start_by_stride() {
    for (std::int64_t n = 0; n < codes_; ++n)
      take(n, static_cast<std::int64_t>((static_cast<double>(n) + 0.5) * static_cast<double>(count_) /
                                        static_cast<double>(codes_)));
  }

  /// Every next centroid is a key, drawn in proportion to its squared distance to the nearest one so far.
  void start_by_distance(const CounterRandom& random) {
    std::vector<double> far(static_cast<std::size_t>(count_), std::numeric_limits<double>::infinity());
    take(0,
         std::min(count_ - 1, static_cast<std::int64_t>(uniform(random, 0) * static_cast<double>(count_))));
    for (std::int64_t n = 1; n < codes_; ++n) {
      check_interrupt();
      for_blocks([&](std::int64_t first, std::int64_t rows) {
        for (std::int64_t j = first; j < first + rows; ++j) {
          double sum = 0;
          for (std::int64_t c = 0; c < width_; ++c) {
            const auto off = static_cast<double>(z_[j * dim_ + c] - seen(n - 1)[c]);
            sum += off * off;
          }
          far[static_cast<std::size_t>(j)] = std::min(far[static_cast<std::size_t>(j)], sum);
        }
      });
      take(n, draw(far, uniform(random, static_cast<std::uint64_t>(n))));
    }
  }

  void run(int most_steps) {
    std::vector<std::int32_t> before;
    for (int step = 0; step < most_steps; ++step) {
      check_interrupt();
      assign();
      if (ids_ == before) break;
      before = ids_;
      move();
    }
  }

  /// Centroids into rows of `dim` floats, counts into their place.
  void give(float* centroids, std::int32_t* count) const {
    std::fill_n(count, codes_, 0);
    for (const std::int32_t id : ids_) ++count[id];
    for (std::int64_t n = 0; n < codes_; ++n)
      std::copy_n(mean_.data() + n * width_, width_, centroids + n * dim_);
  }

 private:
  float* seen(std::int64_t n) { return seen_.data() + n * width_; }

  /// Uniform in [0, 1): the top 53 bits.
  static double uniform(const CounterRandom& random, std::uint64_t i) {
    return static_cast<double>(random.bits(i) >> 11) * 0x1p-53;
  }

  /// The first key at which the running sum passes that share of the whole; where all keys are centroids
  /// already, any will do.
  static std::int64_t draw(const std::vector<double>& far, double share) {
    const double total = std::accumulate(far.begin(), far.end(), 0.0);
    double sum = 0;
    for (std::size_t j = 0; j < far.size(); ++j)
      if ((sum += far[j]) > share * total) return static_cast<std::int64_t>(j);
    return static_cast<std::int64_t>(share * static_cast<double>(far.size()));
  }

  template <class Body>
  void for_blocks(const Body& body) const {
    parallel_for((count_ + keys_at_once - 1) / keys_at_once, [&](std::int64_t block) {
      const std::int64_t first = block * keys_at_once;
      body(first, std::min(keys_at_once, count_ - first));
    });
  }

  void take(std::int64_t code, std::int64_t key) {
    std::copy_n(z_ + key * dim_, width_, seen(code));
    std::copy_n(keys_ + key * dim_, width_, mean_.data() + code * width_);
  }

  void assign() {
    std::vector<float> half(static_cast<std::size_t>(codes_));
    for (std::int64_t n = 0; n < codes_; ++n) {
      float sum = 0;
      for (std::int64_t c = 0; c < width_; ++c) sum += seen(n)[c] * seen(n)[c];
      half[static_cast<std::size_t>(n)] = sum / 2;
    }
    for_blocks([&](std::int64_t first, std::int64_t rows) {
      AlignedVector<float> dot(static_cast<std::size_t>(rows * codes_));
      matrix_ops().gemm_nt(rows, codes_, width_, 1, z_ + first * dim_, dim_, seen_.data(), width_, dot.data(),
                           codes_);
      for (std::int64_t r = 0; r < rows; ++r) {
        const float* row = dot.data() + r * codes_;
        std::int32_t best = 0;
        for (std::int32_t n = 1; n < static_cast<std::int32_t>(codes_); ++n)
          if (row[n] - half[static_cast<std::size_t>(n)] > row[best] - half[static_cast<std::size_t>(best)])
            best = n;
        ids_[static_cast<std::size_t>(first + r)] = best;
      }
    });
  }

  void move() {
    const auto size = seen_.size();
    std::vector<double> seen_sum(size, 0), mean_sum(size, 0);
    std::vector<std::int64_t> held(static_cast<std::size_t>(codes_), 0);
    for (std::int64_t j = 0; j < count_; ++j) {
      const std::int64_t id = ids_[static_cast<std::size_t>(j)];
      ++held[static_cast<std::size_t>(id)];
      for (std::int64_t c = 0; c < width_; ++c) {
        seen_sum[static_cast<std::size_t>(id * width_ + c)] += static_cast<double>(z_[j * dim_ + c]);
        mean_sum[static_cast<std::size_t>(id * width_ + c)] += static_cast<double>(keys_[j * dim_ + c]);
      }
    }
    for (std::size_t at = 0; at < size; ++at) {
      const auto keys = static_cast<double>(held[at / static_cast<std::size_t>(width_)]);
      if (keys == 0) continue;
      seen_[at] = static_cast<float>(seen_sum[at] / keys);
      mean_[at] = static_cast<float>(mean_sum[at] / keys);
    }
  }

  const float *z_, *keys_;
  std::int64_t count_, dim_, width_, codes_;
  AlignedVector<float> seen_, mean_;
  std::vector<std::int32_t> ids_;
};

/// Cholesky of one diagonal block, in place: lower triangular, zeros above.
void cholesky(std::vector<double>& a, std::int64_t n) {
  const auto at = [&](std::int64_t r, std::int64_t c) -> double& {
    return a[static_cast<std::size_t>(r * n + c)];
  };
  for (std::int64_t c = 0; c < n; ++c) {
    double pivot = at(c, c);
    for (std::int64_t l = 0; l < c; ++l) pivot -= at(c, l) * at(c, l);
    if (!(pivot > 0)) fail("the second moment of the queries has no Cholesky factor: they are not finite");
    at(c, c) = std::sqrt(pivot);
    for (std::int64_t r = c + 1; r < n; ++r) {
      double sum = at(r, c);
      for (std::int64_t l = 0; l < c; ++l) sum -= at(r, l) * at(c, l);
      at(r, c) = sum / at(c, c);
    }
    for (std::int64_t r = 0; r < c; ++r) at(r, c) = 0;
  }
}

}  // namespace

std::vector<double> second_moment(const float* queries, std::int64_t count, int dim) {
  AlignedVector<float> across(static_cast<std::size_t>(count * dim));
  for (std::int64_t n = 0; n < count; ++n)
    for (std::int64_t c = 0; c < dim; ++c)
      across[static_cast<std::size_t>(c * count + n)] = queries[n * dim + c];
  std::vector<double> moment(static_cast<std::size_t>(dim) * static_cast<std::size_t>(dim), 0);
  if (count == 0) return moment;
  matrix_ops().gemm_nt_wide(dim, dim, count, 1 / static_cast<double>(count), across.data(), count,
                            across.data(), count, moment.data(), dim);
  return moment;
}

AlignedVector<float> factor_of(const std::vector<double>& moment, int dim, std::int64_t parts) {
  constexpr double ridge = 1e-6;
  const std::int64_t d = dim, width = d / parts;
  AlignedVector<float> factor(static_cast<std::size_t>(d * d), 0);
  for (std::int64_t first = 0; first < d; first += width) {
    std::vector<double> block(static_cast<std::size_t>(width * width));
    double squares = 0;
    for (std::int64_t r = 0; r < width; ++r) {
      for (std::int64_t c = 0; c < width; ++c) {
        const double value = moment[static_cast<std::size_t>((first + r) * d + first + c)];
        block[static_cast<std::size_t>(r * width + c)] = value;
        squares += value * value;
      }
    }
    const double rms = std::sqrt(squares / static_cast<double>(width * width));
    for (double& value : block) value /= rms > 0 ? rms : 1;  // queries that are all 0 see nothing
    for (std::int64_t r = 0; r < width; ++r) block[static_cast<std::size_t>(r * width + r)] += ridge;
    cholesky(block, width);
    for (std::int64_t r = 0; r < width; ++r)
      for (std::int64_t c = 0; c <= r; ++c)
        factor[static_cast<std::size_t>((first + r) * d + first + c)] =
            static_cast<float>(block[static_cast<std::size_t>(r * width + c)]);
  }
  return factor;
}

FittedQuantizer fit_quantizer(const float* keys, std::int64_t count, int dim,
                              const std::vector<double>& moment, const QuantizerFit& fit) {
  if (fit.parts < 1 || dim % fit.parts != 0)
    fail_usage("parts={}: a head of dimension {} does not fall into so many equal parts", fit.parts, dim);
  if (fit.codes < 1 || fit.codes > 1 << 16) fail_usage("codes={}: must lie in [1, 65536]", fit.codes);
  if (fit.codes > count) fail("{} codes for {} keys: every code needs a key", fit.codes, count);
  const std::int64_t d = dim, width = d / fit.parts;
  FittedQuantizer made;
  if (fit.query_metric) {
    made.factor = factor_of(moment, dim, fit.parts);
  } else {
    made.factor.assign(static_cast<std::size_t>(d * d), 0);
    for (std::int64_t c = 0; c < d; ++c) made.factor[static_cast<std::size_t>(c * d + c)] = 1;
  }
  AlignedVector<float> transposed(made.factor.size()), z(static_cast<std::size_t>(count * d));
  for (std::int64_t r = 0; r < d; ++r)
    for (std::int64_t c = 0; c < d; ++c)
      transposed[static_cast<std::size_t>(c * d + r)] = made.factor[static_cast<std::size_t>(r * d + c)];
  see_keys(transposed.data(), keys, count, dim, z.data());
  made.centroids.resize(static_cast<std::size_t>(fit.codes * d));
  made.count.resize(static_cast<std::size_t>(fit.parts * fit.codes));
  for (std::int64_t part = 0; part < fit.parts; ++part) {
    PartMeans means(z.data() + part * width, keys + part * width, count, d, width, fit);
    if (fit.stride_start) {
      means.start_by_stride();
    } else {
      means.start_by_distance(CounterRandom(fit.seed).stream(static_cast<std::uint64_t>(part)));
    }
    means.run(fit.most_steps);
    means.give(made.centroids.data() + part * width, made.count.data() + part * fit.codes);
  }
  return made;
}

}  // namespace anchor
