#include "anchor/timing/layer_source.hpp"

#include <doctest/doctest.h>

#include "support/kv_group.hpp"

using namespace anchor;

namespace {

std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.shape[0] * tensor.shape[1] * tensor.shape[2]));
  to_float(tensor.dtype, tensor.bytes.data(), values);
  return values;
}

}  // namespace

TEST_CASE("a layer is joined from the heads of its groups, in their order") {
  const KvGroup a = test::random_group(test::square(10, 8, 3, 1), DType::bf16, 1),
                b = test::random_group(test::square(10, 8, 3, 1), DType::bf16, 2);
  KvGroup layer;
  append_group(layer, a, {2, 0});
  append_group(layer, b, {1});
  CHECK(layer.q.shape == std::array<std::int64_t, 3>{3, 10, 8});
  CHECK(layer.k.shape == std::array<std::int64_t, 3>{2, 10, 8});
  CHECK(layer.v.shape == std::array<std::int64_t, 3>{2, 10, 8});
  CHECK(layer.q.dtype == DType::bf16);
  const std::vector<float> q = floats_of(layer.q), k = floats_of(layer.k), v = floats_of(layer.v);
  const auto same = [](const std::vector<float>& joined, int at, const Tensor& from, int head) {
    const std::vector<float> all = floats_of(from);
    return std::equal(joined.begin() + at * 80, joined.begin() + (at + 1) * 80, all.begin() + head * 80);
  };
  CHECK(same(q, 0, a.q, 2));
  CHECK(same(q, 1, a.q, 0));
  CHECK(same(q, 2, b.q, 1));
  CHECK(same(k, 0, a.k, 0));
  CHECK(same(k, 1, b.k, 0));
  CHECK(same(v, 1, b.v, 0));
}
