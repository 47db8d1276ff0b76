#include "anchor/timing/synthetic_layers.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"

using namespace anchor;

namespace {

const SyntheticSpec spec{.q_heads = 4, .kv_heads = 2, .head_dim = 32, .dtype = DType::f32, .seed = 3};
const std::int64_t lengths[] = {64, 128};

}  // namespace

TEST_CASE("a layer has the heads of all groups, at every length") {
  const SyntheticLayers layers(spec, lengths);
  REQUIRE(layers.tasks().size() == 2);
  CHECK(layers.heads() == std::vector<int>{0, 1, 2, 3});
  for (const LayerTask& task : layers.tasks()) {
    const KvGroup layer = layers.load(task);
    CHECK(layer.geometry == layers.geometry(task));
    CHECK(layer.geometry.q_len == task.tokens);
    CHECK(layer.geometry.softmax_scale == doctest::Approx(1 / std::sqrt(32.)));
    CHECK(layer.q.shape == std::array<std::int64_t, 3>{4, task.tokens, 32});
    SyntheticSpec one = spec;
    one.kv_len = task.tokens;
    const KvGroup second = Synthetic(one).group(0, 1);
    const std::size_t half = layer.q.bytes.size() / 2;
    CHECK(std::equal(second.q.bytes.begin(), second.q.bytes.end(),
                     layer.q.bytes.begin() + static_cast<std::ptrdiff_t>(half)));
  }
}

TEST_CASE("rows and content name the data: equal specs alike, others apart") {
  const SyntheticLayers layers(spec, lengths);
  const LayerTask task = layers.tasks()[1];
  const ResultRow row = layers.row(task);
  CHECK(row.kind == "bench");
  CHECK(row.scope == "layer");
  CHECK(row.model == "synthetic:mixed");
  CHECK(row.dtype == "f32");
  CHECK(row.geometry == layers.geometry(task));
  CHECK(quantity(row, "seed") == 3);
  CHECK(SyntheticLayers(spec, lengths).content(task) == layers.content(task));
  CHECK(layers.content(layers.tasks()[0]) != layers.content(task));
  const auto apart = [&](auto change) {
    SyntheticSpec other = spec;
    change(other);
    return SyntheticLayers(other, lengths).content(task) != layers.content(task);
  };
  CHECK(apart([](SyntheticSpec& s) { s.seed = 4; }));
  CHECK(apart([](SyntheticSpec& s) { s.pattern = "sink"; }));
  CHECK(apart([](SyntheticSpec& s) { s.q_heads = 2; }));
  CHECK(apart([](SyntheticSpec& s) { s.dtype = DType::bf16; }));
  CHECK(apart([](SyntheticSpec& s) { s.head_dim = 64; }));
}

TEST_CASE("a pattern that is none is refused before anything is made") {
  SyntheticSpec wrong = spec;
  wrong.pattern = "tartan";
  CHECK_THROWS_WITH_AS(SyntheticLayers(wrong, lengths), doctest::Contains("tartan"), Error);
}
