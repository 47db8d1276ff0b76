// Plans of any lists: what validate() lets through can be counted and looked into.
#include <cstring>

#include "anchor/plan/listed.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

namespace {

/// Numbers out of an input; 0 behind its end.
class Numbers {
 public:
  Numbers(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  /// One byte, or with a mark in front of it eight: sizes are small mostly.
  std::int64_t next() {
    const std::uint8_t byte = take();
    if (byte != 255) return byte;
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | take();
    return static_cast<std::int64_t>(value);
  }
  RowLists lists() {
    RowLists lists;
    lists.offsets.clear();
    for (std::int64_t rows = next(); rows >= 0 && left_ > 0; --rows) lists.offsets.push_back(next());
    if (lists.offsets.empty()) lists.offsets.push_back(0);
    for (std::int64_t items = next(); items > 0 && left_ > 0; --items)
      lists.items.push_back(static_cast<std::int32_t>(next()));
    return lists;
  }

 private:
  std::uint8_t take() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  const std::uint8_t* data_;
  std::size_t left_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Numbers in(data, size);
  const auto flags = in.next();
  SparsePlan plan;
  // The readers of dumps bound the shape (data/layer_rules.hpp); everything else is open.
  Geometry& g = plan.geometry;
  g.kv_heads = 1 + static_cast<int>(in.next() & 3);
  g.q_heads = g.kv_heads * (1 + static_cast<int>(in.next() & 3));
  g.kv_len = 1 + (in.next() & 1023);
  g.q_len = 1 + (in.next() & 1023) % g.kv_len;
  g.q_start = g.kv_len - g.q_len;
  plan.q_tile = static_cast<int>(in.next());
  plan.kv_tile = static_cast<int>(in.next());
  plan.tiles_per_row = static_cast<int>(in.next());
  plan.packed_heads = static_cast<int>(in.next());
  plan.blocks = in.lists();
  plan.columns = in.lists();
  if (flags & 1) plan.dup = in.lists();
  if (flags & 2) plan.mean_correction = true;
  if (flags & 4) {
    plan.window.emplace(SparsePlan::Window{in.next(), {}, in.next()});
    for (int head = 0; head < g.q_heads; ++head) plan.window->local.push_back(in.next());
  }
  if (!validate(plan).empty()) return 0;
  for (int head = 0; head < g.q_heads; ++head) {
    const PlanStats stats = plan_stats(plan, head);
    test::demand(stats.visible_pairs >= g.q_len && stats.visible_pairs <= stats.causal_pairs,
                 "a plan keeps a key for every query and no more than all");
  }
  for (std::int64_t row = 0; row < plan.rows(); ++row) lists_key(plan, row, g.kv_len - 1);
  return 0;
}
