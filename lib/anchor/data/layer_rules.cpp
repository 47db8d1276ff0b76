#include "anchor/data/layer_rules.hpp"

#include <cmath>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

std::string text_of(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void require_axes(const TensorForm& tensor) {
  const auto& shape = tensor.shape;
  if (shape.size() != 3) {
    fail("{}: shape {} must have three axes: head, token, dim", tensor.name, text_of(shape));
  }
  for (const std::int64_t extent : shape) {
    if (extent < 1) fail("{}: shape {} has an empty axis", tensor.name, text_of(shape));
  }
  if (shape[0] > most_heads || shape[1] > most_tokens || shape[2] > most_head_dim) {
    fail("{}: shape {} must be head, token, dim: at most {}, {} and {}", tensor.name, text_of(shape),
         most_heads, most_tokens, most_head_dim);
  }
}

void require_valid(const DumpRope& rope, int head_dim, const std::string& where) {
  if (rope.inv_freq.empty() || 2 * std::ssize(rope.inv_freq) > head_dim) {
    fail("{}: rope_inv_freq has {} frequencies for heads of {}: one to half as many", where,
         rope.inv_freq.size(), head_dim);
  }
  for (const float one : rope.inv_freq)
    if (!std::isfinite(one) || one < 0) fail("{}: rope_inv_freq holds {}", where, one);
  if (!std::isfinite(rope.attention_factor) || rope.attention_factor <= 0)
    fail("{}: rope_attention_factor is {}, it must be positive", where, rope.attention_factor);
}

}  // namespace

void set_shape(LayerInfo& info, const TensorForm& q, const TensorForm& k, const TensorForm& v) {
  for (const auto* tensor : {&q, &k, &v}) require_axes(*tensor);
  if (v.shape[2] != k.shape[2]) {
    fail("{}: values of {} dimensions and keys of {}: attention replay takes heads of one width", v.name,
         v.shape[2], k.shape[2]);
  }
  if (v.shape != k.shape) {
    fail("{}: shape {} differs from that of k, {}", v.name, text_of(v.shape), text_of(k.shape));
  }
  if (q.shape[2] != k.shape[2]) {
    fail("{}: head_dim {} differs from that of q, {}", k.name, k.shape[2], q.shape[2]);
  }
  if (q.shape[0] % k.shape[0] != 0) {
    fail("{}: {} query heads are not a multiple of {} KV heads", q.name, q.shape[0], k.shape[0]);
  }
  for (const auto* other : {&k, &v}) {
    if (other->dtype != q.dtype) {
      fail("{}: type {} differs from that of q, {}", other->name, name_of(other->dtype), name_of(q.dtype));
    }
  }
  info.dtype = q.dtype;
  Geometry& g = info.geometry;
  g.q_heads = static_cast<int>(q.shape[0]);
  g.kv_heads = static_cast<int>(k.shape[0]);
  g.q_len = q.shape[1];
  g.kv_len = k.shape[1];
  g.head_dim = static_cast<int>(q.shape[2]);
  g.q_start = g.kv_len - g.q_len;
}

void require_valid(const LayerInfo& info, const std::string& where) {
  const Geometry& g = info.geometry;
  if (info.layer < 0 || info.layer > 999999) fail("{}: there is no layer number {}", where, info.layer);
  if (g.q_heads < 1 || g.kv_heads < 1 || g.q_heads > most_heads || g.q_heads % g.kv_heads != 0) {
    fail("{}: {} query heads are not a multiple of {} KV heads", where, g.q_heads, g.kv_heads);
  }
  if (g.head_dim < 1 || g.head_dim > most_head_dim || g.kv_len < 1 || g.kv_len > most_tokens || g.q_len < 1) {
    fail("{}: {} query rows and {} keys of dim {} make no layer", where, g.q_len, g.kv_len, g.head_dim);
  }
  if (g.q_len > g.kv_len) {
    fail("{}: {} query rows for {} keys; the axes of a tensor are head, token, dim in this order", where,
         g.q_len, g.kv_len);
  }
  if (g.q_start < 0 || g.q_start > g.kv_len - g.q_len) {
    fail("{}: {} query rows from q_start {} on do not lie among the {} keys", where, g.q_len, g.q_start,
         g.kv_len);
  }
  if (!std::isfinite(g.softmax_scale) || g.softmax_scale <= 0 || g.softmax_scale > most_softmax_scale) {
    fail("{}: softmax_scale is {}, it must be positive and at most {}", where, g.softmax_scale,
         most_softmax_scale);
  }
  if (!std::isfinite(info.softcap) || info.softcap < 0) {
    fail("{}: softcap is {}, it must be positive, or 0 for none", where, info.softcap);
  }
  if (g.sliding_window < 0) fail("{}: sliding_window is {}, 0 means none", where, g.sliding_window);
  if (info.rope) require_valid(*info.rope, g.head_dim, where);
}

}  // namespace anchor
