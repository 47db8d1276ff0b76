#include "anchor/report/make_head_map.hpp"

#include <fmt/format.h>

#include "anchor/base/number.hpp"
#include "anchor/metrics/kept_map.hpp"
#include "anchor/replay/dump_stream.hpp"

namespace anchor {

HeadMap make_head_map(Engine& engine, const DumpReader& reader, int layer, int head, const Method& method,
                      const PlanRequest& request) {
  const KvGroup group = read_finite_group(reader, layer, reader.layer(layer).geometry.kv_head(head));
  const int local = head - group.first_q_head;
  const auto inputs = engine.upload(group);
  const Geometry& g = group.geometry;
  const std::int64_t cell = head_map_tile(g.kv_len);
  const MassMap mass = engine.mass(*inputs, local, {.group_rows = 0, .tile_rows = cell, .block_keys = cell});

  HeadMap map{.title = {},
              .q_len = g.q_len,
              .kv_len = g.kv_len,
              .q_start = g.q_start,
              .tile_rows = cell,
              .block_keys = cell,
              .mass = mass.block_mass,
              .kept = {},
              .stripes = {}};
  KeptMap kept(mass.geometry, cell, cell);
  const std::int64_t chunk = method.rows_per_plan == 0 ? g.q_len : method.rows_per_plan;
  for (std::int64_t begin = 0; begin < g.q_len; begin += chunk) {
    const std::int64_t end = std::min(begin + chunk, g.q_len);
    const SparsePlan plan = engine.plan(method, request, *inputs, begin, end)->to_host();
    kept.add(plan, local, begin);
    if (plan.group_rows() < cell) continue;  // lists of single rows would paint everything red
    for (std::int64_t n = 0; n < plan.groups(); ++n) {
      const std::int64_t first = begin + n * plan.group_rows(),
                         last = std::min(first + plan.group_rows(), end);
      for (const std::int32_t key : plan.columns[local * plan.groups() + n])
        map.stripes.push_back({first, last, key});
    }
  }
  map.kept = kept.share();
  map.title = fmt::format("{} layer {} head {}: {}", reader.header().model, layer, head, method.name);
  if (!method.knob.empty()) {
    map.title += fmt::format(" {}={}", method.knob, format_number(request.knob(method.knob, local)));
  }
  return map;
}

}  // namespace anchor
