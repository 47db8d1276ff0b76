#pragma once

#include <cmath>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "anchor/data/dump_reader.hpp"
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
    for (const auto& [layer, kv_head] : shape.broken) break_query(layer, kv_head, shape);
  }

  std::vector<KvGroup> groups;  ///< what was written: all heads of each layer

 private:
  // No writer writes NaN: it comes into the file behind its back.
  void break_query(int layer, int kv_head, const Shape& shape) {
    const std::int64_t offset = DumpReader(path).stored(layer, Part::q)->offset.value();
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const float nan = std::nanf("");
    const std::int64_t values = std::int64_t{kv_head} * (shape.q_heads / shape.kv_heads) *
                                (shape.length - shape.q_start) * shape.head_dim;
    file.seekp(offset + values * static_cast<std::int64_t>(sizeof nan));
    file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  }
};

}  // namespace anchor::test
