#include "anchor/model/packing.hpp"

#include <algorithm>
#include <cstring>

#include "anchor/base/dtype.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/model/row_ops.hpp"

namespace anchor {
namespace {

/// Rows of one stored matrix on their way to bf16.
struct Rows {
  TensorRows from;
  std::byte* to;
  float scale = 1;
  /// Pairs that rotate are neighbours in heads of so many rows, and get half a head apart; 0: rows stay.
  std::int64_t head_dim = 0;

  std::byte* place(std::int64_t row) const {
    if (head_dim > 0) {
      const std::int64_t inside = row % head_dim;
      row += inside / 2 + inside % 2 * (head_dim / 2) - inside;
    }
    return to + 2 * row * from.width();
  }
};

bool finite_bf16(const std::byte* values, std::int64_t count) {
  constexpr std::uint16_t exponent = 0x7f80;
  unsigned bad = 0;
  for (std::int64_t n = 0; n < count; ++n) {
    std::uint16_t value;
    std::memcpy(&value, values + 2 * n, sizeof value);
    bad |= (value & exponent) == exponent;
  }
  return bad == 0;
}

void pack_row(const LanguageModel& model, const Rows& rows, std::int64_t row, const Scratch& floats) {
  const WeightTensor& tensor = *rows.from.tensor;
  const std::int64_t width = rows.from.width();
  std::byte* const to = rows.place(row);
  bool finite = true;
  if (tensor.type == GgmlType::bf16 && rows.scale == 1) {
    std::memcpy(to, tensor.data + (rows.from.first + row) * tensor.row_bytes(),
                static_cast<std::size_t>(2 * width));
    finite = finite_bf16(to, width);
  } else {
    const std::span<float> values(floats.get(), static_cast<std::size_t>(width));
    tensor.row(rows.from.first + row, values.data());
    finite = all_finite(values);
    if (rows.scale != 1)
      for (float& value : values) value *= rows.scale;
    from_float(DType::bf16, values, to);
  }
  if (!finite)
    fail("{}: tensor '{}' holds NaN or infinite weights; the file is damaged", model.path(), tensor.name);
}

/// Packs all of them, in pieces that keep every thread busy to the end.
void pack(const LanguageModel& model, const std::vector<Rows>& all) {
  constexpr std::int64_t chunk = 32;
  std::vector<std::pair<const Rows*, std::int64_t>> pieces;
  for (const Rows& rows : all)
    for (std::int64_t row = 0; row < rows.from.count; row += chunk) pieces.emplace_back(&rows, row);
  parallel_for(std::ssize(pieces), [&](std::int64_t n) {
    const auto& [rows, first] = pieces[static_cast<std::size_t>(n)];
    const Scratch floats(rows->from.width());
    for (std::int64_t row = first; row < std::min(first + chunk, rows->from.count); ++row)
      pack_row(model, *rows, row, floats);
  });
}

std::size_t bf16_bytes(const TensorRows& rows) {
  return rows ? static_cast<std::size_t>(2 * rows.count * rows.width()) : 0;
}

/// The feed-forward parts of a layer: one, or the experts of a mixture.
std::vector<const FeedForward*> feed_forwards(const LayerTensors& tensors) {
  std::vector<const FeedForward*> all;
  if (!tensors.router) all.push_back(&tensors.dense);
  for (const FeedForward& expert : tensors.experts) all.push_back(&expert);
  return all;
}

}  // namespace

PackedLayer packed_layer(const LanguageModel& model, int layer) {
  const LayerTensors& t = model.layer_tensors(layer);
  LanguageModel::Layer vectors;
  model.expand_vectors(layer, vectors);
  PackedLayer parts;
  const auto place = [&](std::size_t bytes) {
    constexpr std::size_t alignment = 256;
    const PackedLayer::Part part{parts.bytes, bytes};
    parts.bytes += (bytes + alignment - 1) / alignment * alignment;
    return part;
  };
  const auto floats = [&](const std::vector<float>& values) { return place(values.size() * sizeof(float)); };
  parts.attention_norm = floats(vectors.attention_norm);
  parts.ffn_norm = floats(vectors.ffn_norm);
  parts.q_norm = floats(vectors.q_norm);
  parts.k_norm = floats(vectors.k_norm);
  parts.post_attention_norm = floats(vectors.post_attention_norm);
  parts.post_ffn_norm = floats(vectors.post_ffn_norm);
  parts.qkv_bias = floats(vectors.qkv_bias);
  parts.output_bias = floats(vectors.output_bias);
  parts.gate_up_bias = floats(vectors.gate_up_bias);
  parts.down_bias = floats(vectors.down_bias);
  parts.qkv = place(bf16_bytes(t.q.rows) + bf16_bytes(t.k.rows) + bf16_bytes(t.v.rows));
  parts.output = place(bf16_bytes(t.output.rows));
  parts.router = place(bf16_bytes(t.router));
  std::size_t gate_up = 0, down = 0;
  for (const FeedForward* one : feed_forwards(t)) {
    gate_up += bf16_bytes(one->gate.rows) + bf16_bytes(one->up.rows);
    down += bf16_bytes(one->down.rows);
  }
  parts.gate_up = place(gate_up);
  parts.down = place(down);
  return parts;
}

void pack_layer(const LanguageModel& model, int layer, const PackedLayer& parts, std::byte* into) {
  const LayerTensors& t = model.layer_tensors(layer);
  LanguageModel::Layer vectors;
  model.expand_vectors(layer, vectors);
  const auto floats = [&](const PackedLayer::Part& part, const std::vector<float>& values) {
    if (part.bytes > 0) std::memcpy(into + part.begin, values.data(), part.bytes);
  };
  floats(parts.attention_norm, vectors.attention_norm);
  floats(parts.ffn_norm, vectors.ffn_norm);
  floats(parts.q_norm, vectors.q_norm);
  floats(parts.k_norm, vectors.k_norm);
  floats(parts.post_attention_norm, vectors.post_attention_norm);
  floats(parts.post_ffn_norm, vectors.post_ffn_norm);
  floats(parts.qkv_bias, vectors.qkv_bias);
  floats(parts.output_bias, vectors.output_bias);
  floats(parts.gate_up_bias, vectors.gate_up_bias);
  floats(parts.down_bias, vectors.down_bias);

  std::vector<Rows> all;
  const auto add = [&](std::byte*& at, const TensorRows& rows, double scale, std::int64_t head_dim = 0) {
    all.push_back({rows, at, static_cast<float>(scale), head_dim});
    at += bf16_bytes(rows);
  };
  const double residual = model.config().residual_scale;
  const std::int64_t head_dim = model.pairs_are_neighbours() ? model.config().head_dim : 0;
  std::byte* at = into + parts.qkv.begin;
  add(at, t.q.rows, 1, head_dim);
  add(at, t.k.rows, 1, head_dim);
  add(at, t.v.rows, 1);
  at = into + parts.output.begin;
  add(at, t.output.rows, residual);
  at = into + parts.router.begin;
  if (t.router) add(at, t.router, 1);
  std::byte *gate_up = into + parts.gate_up.begin, *down = into + parts.down.begin;
  for (const FeedForward* one : feed_forwards(t)) {
    add(gate_up, one->gate.rows, 1);
    add(gate_up, one->up.rows, 1);
    add(down, one->down.rows, residual);
  }
  pack(model, all);
}

void pack_output(const LanguageModel& model, std::int64_t first, std::int64_t count, std::byte* into) {
  TensorRows rows = model.output_rows();
  rows.first += first;
  rows.count = count;
  pack(model, {{rows, into}});
}

}  // namespace anchor
