#include "anchor/base/block_means.hpp"

#include <algorithm>
#include <vector>

#include "anchor/base/parallel.hpp"

namespace anchor {

AlignedVector<float> block_means(const float* x, std::int64_t rows, std::int64_t dim, std::int64_t block,
                                 bool zero_padded) {
  const std::int64_t blocks = (rows + block - 1) / block;
  AlignedVector<float> means(static_cast<std::size_t>(blocks * dim));
  parallel_for(blocks, [&](std::int64_t n) {
    const std::int64_t begin = n * block, end = std::min(begin + block, rows);
    std::vector<double> sum(static_cast<std::size_t>(dim), 0);
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t c = 0; c < dim; ++c)
        sum[static_cast<std::size_t>(c)] += static_cast<double>(x[row * dim + c]);
    }
    const auto count = static_cast<double>(zero_padded ? block : end - begin);
    for (std::int64_t c = 0; c < dim; ++c)
      means[static_cast<std::size_t>(n * dim + c)] =
          static_cast<float>(sum[static_cast<std::size_t>(c)] / count);
  });
  return means;
}

}  // namespace anchor
