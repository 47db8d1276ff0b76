#include "anchor/model/llama.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "anchor/base/aligned.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

// Rows of one piece of work: two activations of 256 x 1536 floats stay in a core's second-level cache, and
// the GEMM's packing of the weights is spread over enough rows. A fixed size keeps results independent of the
// thread count.
constexpr std::int64_t row_block = 256;
constexpr std::int64_t vocab_block = 4096;

using Row = Eigen::Map<Eigen::ArrayXf>;
using ConstRow = Eigen::Map<const Eigen::ArrayXf>;

// Uninitialised working memory of one piece of work; aligned, so that sums over it do not depend on its
// address.
class Scratch {
 public:
  explicit Scratch(std::int64_t size)
      : data_(AlignedAllocator<float>().allocate(static_cast<std::size_t>(size))) {}
  ~Scratch() { AlignedAllocator<float>().deallocate(data_, 0); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const { return data_; }

 private:
  float* data_;
};

void for_row_blocks(std::int64_t rows,
                    const std::function<void(std::int64_t begin, std::int64_t count)>& body) {
  parallel_for((rows + row_block - 1) / row_block,
               [&](std::int64_t b) { body(b * row_block, std::min(row_block, rows - b * row_block)); });
}

// out[r] = x[r] / rms(x[r]) * weight (Zhang and Sennrich, arXiv 1910.07467).
void rms_norm(std::int64_t rows, const float* x, std::span<const float> weight, double eps, float* out) {
  const auto width = static_cast<std::int64_t>(weight.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    const ConstRow row(x + r * width, width);
    const float scale = 1.0f / std::sqrt(row.square().mean() + static_cast<float>(eps));
    Row(out + r * width, width) = row * scale * ConstRow(weight.data(), width);
  }
}

// Rows [begin, begin + count) of a stored matrix as floats.
void expand_rows(const GgufTensor& tensor, std::int64_t begin, std::int64_t count, float* out) {
  constexpr std::int64_t chunk = 64;
  parallel_for((count + chunk - 1) / chunk, [&](std::int64_t c) {
    for (std::int64_t r = c * chunk; r < std::min(count, (c + 1) * chunk); ++r)
      tensor.row(begin + r, out + r * tensor.shape[0]);
  });
}

// GGUF stores the rows of W_q and W_k so that rotated pairs are neighbours: row 2i + s of a head is row i + s
// d/2 of the original. The original order is what Hugging Face dumps and what half-rotation needs.
void expand_unpermuted(const GgufTensor& tensor, int head_dim, float* out) {
  const std::int64_t width = tensor.shape[0], half = head_dim / 2;
  parallel_for(tensor.shape[1] / head_dim, [&](std::int64_t head) {
    for (std::int64_t r = 0; r < head_dim; ++r) {
      tensor.row(head * head_dim + r, out + (head * head_dim + r / 2 + r % 2 * half) * width);
    }
  });
}

std::vector<float> expand_vector(const GgufTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.shape[0]));
  tensor.row(0, values.data());
  return values;
}

std::string block_name(int layer, std::string_view what) {
  return fmt::format("blk.{}.{}.weight", layer, what);
}

// Rotates pairs (i, i + half) of one head by the angles of its position.
void rotate(const float* in, const float* cos, const float* sin, std::int64_t half, float* out) {
  for (std::int64_t i = 0; i < half; ++i) {
    out[i] = in[i] * cos[i] - in[i + half] * sin[i];
    out[i + half] = in[i + half] * cos[i] + in[i] * sin[i];
  }
}

}  // namespace

LlamaModel::LlamaModel(const GgufFile& file) : file_(file), config_(read_llama_config(file)) {
  const std::int64_t hidden = config_.hidden_size, ffn = config_.ffn_size;
  const std::int64_t q_size = std::int64_t{config_.q_heads} * config_.head_dim;
  const std::int64_t kv_size = std::int64_t{config_.kv_heads} * config_.head_dim;
  std::unordered_set<std::string_view> used{"rope_freqs.weight"};
  const auto need = [&](std::string_view name, std::int64_t rows, std::int64_t columns) {
    const GgufTensor& tensor = file.tensor(name, rows, columns);
    used.insert(tensor.name);
    return &tensor;
  };
  embedding_ = need("token_embd.weight", config_.vocab_size, hidden);
  output_ = config_.tied_embeddings ? embedding_ : need("output.weight", config_.vocab_size, hidden);
  output_norm_ = expand_vector(*need("output_norm.weight", 1, hidden));
  for (int layer = 0; layer < config_.layers; ++layer) {
    need(block_name(layer, "attn_norm"), 1, hidden);
    need(block_name(layer, "attn_q"), q_size, hidden);
    need(block_name(layer, "attn_k"), kv_size, hidden);
    need(block_name(layer, "attn_v"), kv_size, hidden);
    need(block_name(layer, "attn_output"), hidden, q_size);
    need(block_name(layer, "ffn_norm"), 1, hidden);
    need(block_name(layer, "ffn_gate"), ffn, hidden);
    need(block_name(layer, "ffn_up"), ffn, hidden);
    need(block_name(layer, "ffn_down"), hidden, ffn);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (!used.contains(tensor.name)) {
      fail(
          "{}: tensor '{}' is not part of the Llama architecture that is supported; dump with "
          "data/hf_dump.py",
          file.path(), tensor.name);
    }
  }
}

Rope LlamaModel::rope(const std::optional<RopeScaling>& scaling, std::int64_t tokens) const {
  std::vector<float> divisors;
  if (file_.find_tensor("rope_freqs.weight")) {
    divisors = expand_vector(file_.tensor("rope_freqs.weight", 1, config_.head_dim / 2));
  }
  return make_rope(config_, scaling ? scaling : read_rope_scaling(file_), tokens, divisors);
}

void LlamaModel::expand(int layer, Layer& w) const {
  const auto stored = [&](std::string_view what) -> const GgufTensor& {
    return *file_.find_tensor(block_name(layer, what));
  };
  const auto size = [](const GgufTensor& tensor) {
    return static_cast<std::size_t>(tensor.shape[0] * tensor.shape[1]);
  };
  const GgufTensor &q = stored("attn_q"), &k = stored("attn_k"), &v = stored("attn_v");
  const GgufTensor &output = stored("attn_output"), &gate = stored("ffn_gate"), &up = stored("ffn_up"),
                   &down = stored("ffn_down");

  w.attention_norm = expand_vector(stored("attn_norm"));
  w.ffn_norm = expand_vector(stored("ffn_norm"));
  w.qkv.resize(size(q) + size(k) + size(v));
  expand_unpermuted(q, config_.head_dim, w.qkv.data());
  expand_unpermuted(k, config_.head_dim, w.qkv.data() + size(q));
  expand_rows(v, 0, v.shape[1], w.qkv.data() + size(q) + size(k));
  w.output.resize(size(output));
  expand_rows(output, 0, output.shape[1], w.output.data());
  w.gate_up.resize(size(gate) + size(up));
  expand_rows(gate, 0, gate.shape[1], w.gate_up.data());
  expand_rows(up, 0, up.shape[1], w.gate_up.data() + size(gate));
  w.down.resize(size(down));
  expand_rows(down, 0, down.shape[1], w.down.data());
}

AlignedVector<float> LlamaModel::embed(std::span<const int> tokens) const {
  const auto hidden = static_cast<std::size_t>(config_.hidden_size);
  AlignedVector<float> x(tokens.size() * hidden);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config_.vocab_size) {
      fail("{}: token {} at position {} is outside the vocabulary of {}", file_.path(), tokens[i], i,
           config_.vocab_size);
    }
    embedding_->row(tokens[i], x.data() + i * hidden);
  }
  return x;
}

std::vector<float> LlamaModel::output_weights() const {
  std::vector<float> weights(static_cast<std::size_t>(config_.vocab_size * config_.hidden_size));
  expand_rows(*output_, 0, config_.vocab_size, weights.data());
  return weights;
}

AlignedVector<float> LlamaModel::forward(std::span<const int> tokens, const Rope& rope,
                                         const Hooks& hooks) const {
  const MatrixOps& ops = matrix_ops();
  const auto n = static_cast<std::int64_t>(tokens.size());
  const std::int64_t hidden = config_.hidden_size, ffn = config_.ffn_size, d = config_.head_dim;
  const std::int64_t q_heads = config_.q_heads, kv_heads = config_.kv_heads, q_size = q_heads * d;
  const std::int64_t qkv_heads = q_heads + 2 * kv_heads;

  AlignedVector<float> x = embed(tokens);
  std::vector<float> cos, sin;
  rope.tables(n, cos, sin);

  // q, k and v in one array [head, token, dim], as the projections make them: query heads first.
  std::vector<float> heads(static_cast<std::size_t>(qkv_heads * n * d));
  AttentionInputs inputs;
  inputs.geometry = {
      config_.q_heads, config_.kv_heads, n, n, 0, config_.head_dim, 1 / std::sqrt(static_cast<double>(d))};
  inputs.q = heads.data();
  inputs.k = heads.data() + q_heads * n * d;
  inputs.v = inputs.k + kv_heads * n * d;
  inputs.q_head_stride = n * d;

  Layer w;  // its memory serves every layer
  for (int layer = 0; layer < config_.layers; ++layer) {
    check_interrupt();
    expand(layer, w);
    for_row_blocks(n, [&](std::int64_t begin, std::int64_t rows) {
      const Scratch normed(rows * hidden), projected(rows * qkv_heads * d);
      rms_norm(rows, x.data() + begin * hidden, w.attention_norm, config_.rms_norm_eps, normed.get());
      ops.gemm_nt(rows, qkv_heads * d, hidden, 1, normed.get(), hidden, w.qkv.data(), hidden, projected.get(),
                  qkv_heads * d);
      for (std::int64_t head = 0; head < qkv_heads; ++head) {
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t position = begin + r;
          const float* from = projected.get() + (r * qkv_heads + head) * d;
          float* to = heads.data() + (head * n + position) * d;
          if (head < q_heads + kv_heads) {
            rotate(from, cos.data() + position * d / 2, sin.data() + position * d / 2, d / 2, to);
          } else {
            std::copy_n(from, d, to);
          }
        }
      }
    });

    const AttentionResult attention = hooks.attention(layer, inputs);
    if (hooks.on_layer) hooks.on_layer(layer, inputs, attention);

    for_row_blocks(n, [&](std::int64_t begin, std::int64_t rows) {
      const Scratch mixed(rows * q_size), normed(rows * hidden), gated(rows * 2 * ffn);
      for (std::int64_t head = 0; head < q_heads; ++head) {
        for (std::int64_t r = 0; r < rows; ++r) {
          std::copy_n(attention.out.data() + (head * n + begin + r) * d, d,
                      mixed.get() + r * q_size + head * d);
        }
      }
      float* residual = x.data() + begin * hidden;
      ops.gemm_nt_add(rows, hidden, q_size, mixed.get(), q_size, w.output.data(), q_size, residual, hidden);
      rms_norm(rows, residual, w.ffn_norm, config_.rms_norm_eps, normed.get());
      ops.gemm_nt(rows, 2 * ffn, hidden, 1, normed.get(), hidden, w.gate_up.data(), hidden, gated.get(),
                  2 * ffn);
      for (std::int64_t r = 0; r < rows; ++r) {  // SwiGLU (arXiv 2002.05202): silu(gate) * up
        Row gate(gated.get() + r * 2 * ffn, ffn);
        gate = gate / (1 + (-gate).exp()) * ConstRow(gate.data() + ffn, ffn);
      }
      ops.gemm_nt_add(rows, hidden, ffn, gated.get(), 2 * ffn, w.down.data(), ffn, residual, hidden);
    });
    if (hooks.on_progress) hooks.on_progress(layer + 1, config_.layers);
  }
  for_row_blocks(n, [&](std::int64_t begin, std::int64_t rows) {
    rms_norm(rows, x.data() + begin * hidden, output_norm_, config_.rms_norm_eps, x.data() + begin * hidden);
  });
  return x;
}

double LlamaModel::mean_nll(std::span<const int> tokens, std::span<const float> hidden) const {
  const std::int64_t width = config_.hidden_size, rows = static_cast<std::int64_t>(tokens.size()) - 1;
  if (rows < 1) return std::numeric_limits<double>::quiet_NaN();
  const MatrixOps& ops = matrix_ops();
  std::vector<float> max(static_cast<std::size_t>(rows), -std::numeric_limits<float>::infinity());
  std::vector<double> sum(max.size()), target(max.size());
  std::vector<float> weights(static_cast<std::size_t>(std::min(vocab_block, config_.vocab_size) * width));
  for (std::int64_t first = 0; first < config_.vocab_size; first += vocab_block) {
    const std::int64_t columns = std::min(vocab_block, config_.vocab_size - first);
    expand_rows(*output_, first, columns, weights.data());
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

std::vector<float> LlamaModel::logits(std::span<const float> hidden) const {
  std::vector<float> values(static_cast<std::size_t>(config_.vocab_size)), row(hidden.size());
  for (std::int64_t token = 0; token < config_.vocab_size; ++token) {
    output_->row(token, row.data());
    values[token] =
        (ConstRow(row.data(), config_.hidden_size) * ConstRow(hidden.data(), config_.hidden_size)).sum();
  }
  return values;
}

}  // namespace anchor
