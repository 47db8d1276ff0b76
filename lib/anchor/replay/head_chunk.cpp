#include "anchor/replay/head_chunk.hpp"

namespace anchor {
namespace {

AlignedVector<float> rows_of(const Tensor& tensor, std::int64_t head, std::int64_t begin, std::int64_t end) {
  const std::int64_t dim = tensor.shape[2], first = (head * tensor.shape[1] + begin) * dim;
  AlignedVector<float> values(static_cast<std::size_t>((end - begin) * dim));
  to_float(tensor.dtype, tensor.bytes.data() + static_cast<std::size_t>(first) * size_of(tensor.dtype),
           values);
  return values;
}

}  // namespace

HeadChunk::HeadChunk(const KvGroup& layer, int head, std::int64_t begin, std::int64_t end)
    : geometry(layer.geometry.rows(begin, end)),
      q(rows_of(layer.q, head, begin, end)),
      k(rows_of(layer.k, layer.geometry.kv_head(head), 0, layer.geometry.kv_len)),
      origin{layer.layer, layer.kv_head + layer.geometry.kv_head(head), layer.rotation.get()} {
  geometry.q_heads = geometry.kv_heads = 1;
}

}  // namespace anchor
