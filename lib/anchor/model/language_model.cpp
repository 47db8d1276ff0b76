#include "anchor/model/language_model.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/hf_folder.hpp"
#include "anchor/model/row_ops.hpp"

namespace anchor {
namespace {

constexpr std::int64_t vocab_block = 4096;

using ConstRow = Eigen::Map<const Eigen::ArrayXf>;

void check_weights(std::span<const float> values, const WeightTensor& tensor, const std::string& path) {
  if (!all_finite(values))
    fail("{}: tensor '{}' holds NaN or infinite weights; the file is damaged", path, tensor.name);
}

void multiply(std::vector<float>& values, double scale) {
  if (scale == 1) return;
  for (float& value : values) value *= static_cast<float>(scale);
}

std::size_t size_of(const TensorRows& rows) { return static_cast<std::size_t>(rows.count * rows.width()); }

// GGUF stores the rows of W_q and W_k of some architectures so that rotated pairs are neighbours: row 2i + s
// of a head is row i + s d/2 of the original. The original order is what Hugging Face dumps and what
// half-rotation needs.
void unpermute(float* rows, std::int64_t count, std::int64_t width, int head_dim) {
  const std::int64_t half = head_dim / 2;
  parallel_for(count / head_dim, [&](std::int64_t head) {
    float* begin = rows + head * head_dim * width;
    const std::vector<float> stored(begin, begin + head_dim * width);
    for (std::int64_t r = 0; r < head_dim; ++r)
      std::copy_n(stored.begin() + r * width, width, begin + (r / 2 + r % 2 * half) * width);
  });
}

}  // namespace

LanguageModel::LanguageModel(const GgufFile& file)
    : LanguageModel(file, read_config(file), TensorNames::gguf) {}
LanguageModel::LanguageModel(const HfFolder& folder)
    : LanguageModel(folder, read_config(folder), TensorNames::hugging_face) {}

LanguageModel::LanguageModel(const TensorStore& store, ModelConfig config, TensorNames names)
    : path_(store.path()), config_(std::move(config)), tensors_(find_tensors(store, config_, names)) {
  expand_values(tensors_.output_norm, true, output_norm_);
  multiply(output_norm_, config_.logit_scale);
}

Geometry LanguageModel::geometry(int layer, std::int64_t tokens) const {
  Geometry shape{.q_heads = config_.q_heads,
                 .kv_heads = config_.kv_heads,
                 .q_len = tokens,
                 .kv_len = tokens,
                 .q_start = 0,
                 .head_dim = config_.head_dim,
                 .softmax_scale = config_.softmax_scale};
  shape.sliding_window = config_.window(layer);
  return shape;
}

void LanguageModel::expand_rows(const TensorRows& rows, float* out) const {
  constexpr std::int64_t chunk = 64;
  const WeightTensor& tensor = *rows.tensor;
  const std::int64_t width = rows.width();
  parallel_for((rows.count + chunk - 1) / chunk, [&](std::int64_t c) {
    for (std::int64_t r = c * chunk; r < std::min(rows.count, (c + 1) * chunk); ++r) {
      tensor.row(rows.first + r, out + r * width);
      check_weights({out + r * width, static_cast<std::size_t>(width)}, tensor, path_);
    }
  });
}

void LanguageModel::expand_values(const TensorValues& values, bool is_norm, std::vector<float>& out) const {
  out.clear();
  if (!values) return;
  std::vector<float> whole(static_cast<std::size_t>(values.tensor->shape[0]));
  values.tensor->row(0, whole.data());
  check_weights(whole, *values.tensor, path_);
  out.assign(whole.begin() + values.first, whole.begin() + values.first + values.count);
  if (!is_norm || !tensors_.norms_plus_one) return;
  for (float& value : out) value += 1;
}

void LanguageModel::expand_vectors(int layer, Layer& w) const {
  const LayerTensors& t = layer_tensors(layer);
  expand_values(t.attention_norm, true, w.attention_norm);
  expand_values(t.ffn_norm, true, w.ffn_norm);
  expand_values(t.q_norm, true, w.q_norm);
  expand_values(t.k_norm, true, w.k_norm);
  expand_values(t.post_attention_norm, true, w.post_attention_norm);
  expand_values(t.post_ffn_norm, true, w.post_ffn_norm);
  // Projections that are computed as one stand one below the other; a bias that some lack is 0 there.
  const auto expand_stacked = [&](std::initializer_list<const Projection*> parts, std::vector<float>& bias) {
    std::size_t height = 0;
    bool biased = false;
    for (const Projection* part : parts) {
      height += static_cast<std::size_t>(part->rows.count);
      biased |= static_cast<bool>(part->bias);
    }
    bias.assign(biased ? height : 0, 0);
    std::size_t row = 0;
    std::vector<float> values;
    for (const Projection* part : parts) {
      expand_values(part->bias, false, values);
      std::copy(values.begin(), values.end(), bias.begin() + static_cast<std::ptrdiff_t>(row));
      row += static_cast<std::size_t>(part->rows.count);
    }
  };
  expand_stacked({&t.q, &t.k, &t.v}, w.qkv_bias);
  if (tensors_.pairs_are_neighbours && !w.qkv_bias.empty())
    unpermute(w.qkv_bias.data(), t.q.rows.count + t.k.rows.count, 1, config_.head_dim);
  expand_stacked({&t.output}, w.output_bias);
  multiply(w.output_bias, config_.residual_scale);
  expand_stacked({&t.dense.gate, &t.dense.up}, w.gate_up_bias);
  expand_stacked({&t.dense.down}, w.down_bias);
  multiply(w.down_bias, config_.residual_scale);
}

void LanguageModel::expand(int layer, Layer& w) const {
  const LayerTensors& t = layer_tensors(layer);
  expand_vectors(layer, w);
  const auto expand_stacked = [&](std::initializer_list<TensorRows> parts, std::vector<float>& rows) {
    std::size_t size = 0, at = 0;
    for (const TensorRows& part : parts) size += part ? size_of(part) : 0;
    rows.resize(size);
    for (const TensorRows& part : parts) {
      if (!part) continue;
      expand_rows(part, rows.data() + at);
      at += size_of(part);
    }
  };
  expand_stacked({t.q.rows, t.k.rows, t.v.rows}, w.qkv);
  if (tensors_.pairs_are_neighbours)
    unpermute(w.qkv.data(), t.q.rows.count + t.k.rows.count, config_.hidden_size, config_.head_dim);
  expand_stacked({t.output.rows}, w.output);
  multiply(w.output, config_.residual_scale);
  expand_stacked({t.router}, w.router);
  expand_stacked({t.dense.gate.rows, t.dense.up.rows}, w.gate_up);
  expand_stacked({t.dense.down.rows}, w.down);
  multiply(w.down, config_.residual_scale);
}

void LanguageModel::expand_expert(int layer, int expert, Expert& w) const {
  const FeedForward& t =
      tensors_.layers[static_cast<std::size_t>(layer)].experts[static_cast<std::size_t>(expert)];
  const std::size_t gate = size_of(t.gate.rows);
  w.gate_up.resize(gate + size_of(t.up.rows));
  expand_rows(t.gate.rows, w.gate_up.data());
  expand_rows(t.up.rows, w.gate_up.data() + gate);
  w.down.resize(size_of(t.down.rows));
  expand_rows(t.down.rows, w.down.data());
  multiply(w.down, config_.residual_scale);
}

AlignedVector<float> LanguageModel::embed(std::span<const int> tokens) const {
  const auto hidden = static_cast<std::size_t>(config_.hidden_size);
  const auto scale = static_cast<float>(config_.embedding_scale);
  AlignedVector<float> x(tokens.size() * hidden);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config_.vocab_size) {
      fail("{}: token {} at position {} is outside the vocabulary of {}", path_, tokens[i], i,
           config_.vocab_size);
    }
    const std::span<float> row(x.data() + i * hidden, hidden);
    tensors_.embedding->row(tokens[i], row.data());
    check_weights(row, *tensors_.embedding, path_);
    if (scale == 1) continue;
    for (float& value : row) value *= scale;
  }
  return x;
}

double LanguageModel::mean_nll(std::span<const int> tokens, std::span<const float> hidden) const {
  const std::int64_t width = config_.hidden_size, rows = static_cast<std::int64_t>(tokens.size()) - 1;
  if (rows < 1) return std::numeric_limits<double>::quiet_NaN();
  const MatrixOps& ops = matrix_ops();
  std::vector<float> max(static_cast<std::size_t>(rows), -std::numeric_limits<float>::infinity());
  std::vector<double> sum(max.size()), target(max.size());
  std::vector<float> weights(static_cast<std::size_t>(std::min(vocab_block, config_.vocab_size) * width));
  for (std::int64_t first = 0; first < config_.vocab_size; first += vocab_block) {
    const std::int64_t columns = std::min(vocab_block, config_.vocab_size - first);
    expand_rows({tensors_.output, first, columns}, weights.data());
    for_row_blocks(rows, [&](std::int64_t begin, std::int64_t count) {
      const Scratch scores(count * columns), shrink(count);
      ops.gemm_nt(count, columns, width, 1, hidden.data() + begin * width, width, weights.data(), width,
                  scores.get(), columns);
      for (std::int64_t r = 0; r < count; ++r) {
        const std::int64_t next = tokens[begin + r + 1] - first;
        if (next >= 0 && next < columns)
          target[begin + r] = static_cast<double>(scores.get()[r * columns + next]);
      }
      ops.softmax_step(count, columns, scores.get(), columns, max.data() + begin, sum.data() + begin,
                       shrink.get());
    });
  }
  double total = 0;
  for (std::size_t r = 0; r < max.size(); ++r)
    total += static_cast<double>(max[r]) + std::log(sum[r]) - target[r];
  return total / static_cast<double>(rows);
}

std::vector<float> LanguageModel::logits(std::span<const float> hidden) const {
  const std::int64_t width = config_.hidden_size, rows = static_cast<std::int64_t>(hidden.size()) / width;
  std::vector<float> values(static_cast<std::size_t>(rows * config_.vocab_size));
  constexpr std::int64_t chunk = 512;
  parallel_for((config_.vocab_size + chunk - 1) / chunk, [&](std::int64_t c) {
    std::vector<float> weights(static_cast<std::size_t>(width));
    for (std::int64_t token = c * chunk; token < std::min(config_.vocab_size, (c + 1) * chunk); ++token) {
      tensors_.output->row(token, weights.data());
      for (std::int64_t r = 0; r < rows; ++r)
        values[static_cast<std::size_t>(r * config_.vocab_size + token)] =
            (ConstRow(weights.data(), width) * ConstRow(hidden.data() + r * width, width)).sum();
    }
  });
  return values;
}

}  // namespace anchor
