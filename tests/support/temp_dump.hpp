#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "anchor/data/dump_writer.hpp"
#include "support/kv_group.hpp"
#include "support/temp_file.hpp"

namespace anchor::test {

/// A dump of random heads that disappears with the test.
struct TempDump : TempFile {
  struct Shape {
    std::vector<int> layers = {0, 1};
    int q_heads = 4, kv_heads = 2;
    std::int64_t length = 96;
    int head_dim = 16;
    std::int64_t q_start = 0;  ///< keys before the first query
    float sharpness = 2;       ///< standard deviation of scores
    unsigned seed = 0;
    std::vector<std::pair<int, int>> broken = {};  ///< layers and KV heads whose queries hold a NaN
  };

  explicit TempDump(const std::string& name) : TempDump(name, Shape{}) {}
  TempDump(const std::string& name, const Shape& shape) : TempFile(name) {
    DumpPlan plan{{"random heads", shape.length, "test", "1", "", {}, 7, "", {}}, {}, {}, {}};
    for (const int layer : shape.layers) {
      const Geometry g = square(shape.length, shape.head_dim, shape.q_heads, shape.kv_heads, shape.q_start);
      groups.push_back(
          random_group(g, DType::f32, shape.seed + static_cast<unsigned>(layer + 1), shape.sharpness));
      groups.back().layer = layer;
      for (const auto& [in_layer, kv_head] : shape.broken) {
        if (in_layer != layer) continue;
        const std::int64_t at = kv_head * (shape.q_heads / shape.kv_heads) * g.q_len * shape.head_dim;
        const float nan = std::nanf("");
        std::memcpy(groups.back().q.bytes.data() + static_cast<std::size_t>(at) * sizeof nan, &nan,
                    sizeof nan);
      }
      LayerInfo info;
      info.layer = layer;
      info.geometry = groups.back().geometry;
      plan.layers.push_back(info);
    }
    DumpWriter writer(path, plan);
    for (const KvGroup& group : groups) {
      writer.begin_layer(group.layer);
      writer.append(group);
      writer.end_layer();
    }
    writer.finish();
  }

  std::vector<KvGroup> groups;  ///< what was written: all heads of each layer
};

}  // namespace anchor::test
