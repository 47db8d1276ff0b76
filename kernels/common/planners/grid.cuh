#pragma once

#include <cstddef>

#include "anchor/kernels/planners.hpp"

// Shapes and scratch memory of the planners.
namespace anchor::kernels {

/// Blocks [0, causal_blocks) hold a key that some row of the tile sees.
__device__ inline int causal_blocks(const BlockGrid& g, int tile) {
  const std::int64_t end = min(g.tokens, static_cast<std::int64_t>(tile + 1) * g.q_tile);
  return static_cast<int>((end + g.kv_tile - 1) / g.kv_tile);
}
/// Blocks [0, past_blocks) lie entirely before the tile's first row.
__device__ inline int past_blocks(const BlockGrid& g, int tile) {
  return static_cast<int>(static_cast<std::int64_t>(tile) * g.q_tile / g.kv_tile);
}

/// Cuts scratch memory into arrays; over a null pointer it only adds up their bytes.
class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(std::int64_t count) {
    T* taken = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return taken;
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

/// How many heads are scored together: `bytes` each, 128 MiB in all, and at least one KV head's worth.
inline int heads_at_once(const Shape& shape, std::int64_t bytes) {
  const int group = shape.q_heads / shape.kv_heads;
  const auto fit = static_cast<int>((std::int64_t{128} << 20) / (bytes * group)) * group;
  return min(shape.q_heads, max(group, fit));
}

inline unsigned blocks_for(std::int64_t items, int per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

}  // namespace anchor::kernels
