#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "anchor/kernels/compare.hpp"

using namespace anchor::kernels;

namespace {

DeviceBuffer on_device(const std::vector<float>& values, const Stream& stream) {
  DeviceBuffer buffer(values.size() * sizeof(float));
  buffer.upload(values.data(), buffer.bytes(), stream);
  return buffer;
}

std::vector<float> random_values(std::size_t count, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 0.01f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(rng);
  return values;
}

}  // namespace

TEST_CASE("two results are compared head by head, the second from one of its rows on") {
  const Stream stream;
  for (const int rows : {1, 77, 700}) {
    const int heads = 3, dim = 64, dense_rows = rows + 40, first = 25;
    const auto elements = static_cast<std::size_t>(heads * rows * dim);
    const std::vector<float> out = random_values(elements, 1), lse = random_values(elements / dim, 2);
    const auto dense = static_cast<std::size_t>(heads * dense_rows);
    const std::vector<float> dense_out = random_values(dense * dim, 3), dense_lse = random_values(dense, 4);
    const DeviceBuffer a = on_device(out, stream), b = on_device(dense_out, stream),
                       c = on_device(lse, stream), d = on_device(dense_lse, stream);
    std::vector<CompareSums> parts(heads * compare_parts);
    DeviceBuffer sums(parts.size() * sizeof parts[0]);
    sums.fill(0xff, stream);
    compare({.heads = heads,
             .head_dim = dim,
             .rows = rows,
             .dense_rows = dense_rows,
             .first = first,
             .out = a.data<float>(),
             .dense_out = b.data<float>(),
             .lse = c.data<float>(),
             .dense_lse = d.data<float>(),
             .sums = sums.data<CompareSums>()},
            stream);
    sums.download(parts.data(), sums.bytes(), stream);
    for (int head = 0; head < heads; ++head) {
      CAPTURE(rows);
      CAPTURE(head);
      CompareSums got{}, expected{};
      for (int n = 0; n < compare_parts; ++n) {
        const CompareSums& part = parts[static_cast<std::size_t>(head * compare_parts + n)];
        got.within_001 += part.within_001;
        got.within_0005 += part.within_0005;
        got.abs += part.abs;
        got.max_abs = std::max(got.max_abs, part.max_abs);
        got.squares += part.squares;
        got.dense_squares += part.dense_squares;
        got.recall += part.recall;
      }
      for (int row = 0; row < rows; ++row) {
        const int from = head * rows + row, to = head * dense_rows + first + row;
        for (int n = 0; n < dim; ++n) {
          const float x = out[static_cast<std::size_t>(from * dim + n)],
                      y = dense_out[static_cast<std::size_t>(to * dim + n)], off = std::abs(x - y);
          expected.within_001 += off < 0.01f;
          expected.within_0005 += off < 0.005f;
          expected.abs += static_cast<double>(off);
          expected.max_abs = std::max(expected.max_abs, static_cast<double>(off));
          expected.squares += static_cast<double>(off) * static_cast<double>(off);
          expected.dense_squares += static_cast<double>(y) * static_cast<double>(y);
        }
        expected.recall += std::exp(static_cast<double>(lse[static_cast<std::size_t>(from)] -
                                                        dense_lse[static_cast<std::size_t>(to)]));
      }
      CHECK(got.within_001 == expected.within_001);
      CHECK(got.within_0005 == expected.within_0005);
      CHECK(got.max_abs == expected.max_abs);
      CHECK(got.abs == doctest::Approx(expected.abs).epsilon(1e-12));
      CHECK(got.squares == doctest::Approx(expected.squares).epsilon(1e-12));
      CHECK(got.dense_squares == doctest::Approx(expected.dense_squares).epsilon(1e-12));
      CHECK(got.recall == doctest::Approx(expected.recall).epsilon(1e-6));
    }
  }
}
