#include "anchor/timing/layer_source.hpp"

namespace anchor {
namespace {

/// Appends the bytes of some heads of a tensor.
void append_heads(Tensor& joined, const Tensor& part, const std::vector<int>& heads) {
  const std::size_t head_bytes = part.bytes.size() / static_cast<std::size_t>(part.shape[0]);
  for (const int head : heads) {
    const auto begin =
        part.bytes.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(head) * head_bytes);
    joined.bytes.insert(joined.bytes.end(), begin, begin + static_cast<std::ptrdiff_t>(head_bytes));
  }
  joined.dtype = part.dtype;
  joined.shape = {joined.shape[0] + static_cast<std::int64_t>(heads.size()), part.shape[1], part.shape[2]};
}

}  // namespace

ResultRow LayerSource::row(const LayerTask& task) const {
  ResultRow row;
  row.kind = "bench";
  row.scope = "layer";
  row.geometry = geometry(task);
  name(row, task);
  return row;
}

void append_group(KvGroup& layer, const KvGroup& group, const std::vector<int>& heads) {
  append_heads(layer.q, group.q, heads);
  append_heads(layer.k, group.k, {0});
  append_heads(layer.v, group.v, {0});
}

}  // namespace anchor
