#include "anchor/replay/head_chunk.hpp"

#include <doctest/doctest.h>

#include "anchor/method/method.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

TEST_CASE("a chunk holds its head's rows and the keys of the head's KV head, bit for bit") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const KvGroup layer = test::random_group(test::square(50, 16, 6, 3), dtype);
    const FloatGroup floats(layer);
    const AttentionInputs all = floats.view();
    for (const int head : {0, 1, 5}) {
      for (const auto& [begin, end] : {std::pair{0, 50}, {0, 1}, {17, 33}, {49, 50}}) {
        const HeadChunk chunk(layer, head, begin, end);
        CHECK(chunk.geometry.q_heads == 1);
        CHECK(chunk.geometry.kv_heads == 1);
        CHECK(chunk.geometry.q_len == end - begin);
        CHECK(chunk.geometry.q_start == begin);
        CHECK(chunk.geometry.kv_len == 50);
        const float* q = all.q + (head * 50 + begin) * 16;
        const float* k = all.k + head / 2 * 50 * 16;
        CHECK(std::equal(chunk.q.begin(), chunk.q.end(), q));
        CHECK(std::equal(chunk.k.begin(), chunk.k.end(), k));
        CHECK(chunk.k.size() == 50 * 16);
      }
    }
  }
}

TEST_CASE("a plan of a chunk is the whole plan's rows") {
  const KvGroup layer = test::random_group(test::square(128, 16, 2, 1), DType::f32);
  const Method& method = find_method("anchor");
  Params params = default_params(method);
  set_param(method, params, "block", "16");
  set_param(method, params, "step", "2");
  set_param(method, params, "theta", "3");
  const SparsePlan whole = method.plan_cpu(FloatGroup(layer).view(), {params, {}});
  for (const int head : {0, 1}) {
    for (std::int64_t group = 0; group < whole.groups(); ++group) {
      const std::int64_t begin = group * whole.group_rows();
      const HeadChunk chunk(layer, head, begin, begin + whole.group_rows());
      const SparsePlan part = method.plan_cpu(chunk.view(), {params, {}});
      const std::int64_t row = head * whole.groups() + group;
      CHECK(std::ranges::equal(part.blocks[0], whole.blocks[row]));
      CHECK(std::ranges::equal(part.columns[0], whole.columns[row]));
    }
  }
}
