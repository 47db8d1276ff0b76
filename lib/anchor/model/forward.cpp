#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/model/experts.hpp"
#include "anchor/model/language_model.hpp"
#include "anchor/model/row_ops.hpp"

namespace anchor {
namespace {

/// One text on its way through the layers.
class Pass {
 public:
  Pass(const LanguageModel& model, std::span<const int> tokens, const Ropes& ropes)
      : model_(model),
        c_(model.config()),
        ropes_(ropes),
        n_(static_cast<std::int64_t>(tokens.size())),
        hidden_(c_.hidden_size),
        x_(model.embed(tokens)),
        heads_(static_cast<std::size_t>((c_.q_heads + 2 * c_.kv_heads) * n_ * c_.head_dim)) {
    for (const Rope& rope : ropes.kinds) {
      rotations_.push_back({rope.inv_freq, rope.attention_factor});
      Angles& angles = angles_.emplace_back();
      rope.tables(n_, angles.cos, angles.sin);
    }
  }

  AlignedVector<float> run(const LanguageModel::Hooks& hooks) {
    for (int layer = 0; layer < c_.layers; ++layer) {
      check_interrupt();
      model_.expand(layer, w_);
      project_heads(layer);
      const AttentionInputs inputs = inputs_of(layer);
      const AttentionResult attention = hooks.attention(layer, inputs);
      if (hooks.on_layer) hooks.on_layer(layer, inputs, attention);
      mix_heads(attention);
      if (w_.router.empty()) {
        feed_forward();
      } else {
        mix_experts(layer);
      }
      check_stream(layer);
      if (hooks.on_progress) hooks.on_progress(layer + 1, c_.layers);
    }
    for_row_blocks(n_, [&](std::int64_t begin, std::int64_t rows) {
      rms_norm(rows, x(begin), model_.output_norm(), c_.rms_norm_eps, x(begin));
    });
    return std::move(x_);
  }

 private:
  struct Angles {
    std::vector<float> cos, sin;
  };

  float* x(std::int64_t row) { return x_.data() + row * hidden_; }

  /// q, k and v in one array [head, token, dim], as the projections make them: query heads first.
  AttentionInputs inputs_of(int layer) const {
    AttentionInputs inputs;
    inputs.geometry = model_.geometry(layer, n_);
    const std::int64_t head = n_ * c_.head_dim;
    inputs.q = heads_.data();
    inputs.k = heads_.data() + c_.q_heads * head;
    inputs.v = inputs.k + c_.kv_heads * head;
    inputs.q_head_stride = head;
    const Rope* rope = ropes_.of(layer);
    inputs.origin = {layer, 0,
                     rope ? &rotations_[static_cast<std::size_t>(rope - ropes_.kinds.data())] : nullptr};
    return inputs;
  }

  void project_heads(int layer) {
    const std::int64_t d = c_.head_dim, heads = c_.q_heads + 2 * c_.kv_heads;
    const Rope* rope = ropes_.of(layer);
    const Angles* angles = rope ? &angles_[static_cast<std::size_t>(rope - ropes_.kinds.data())] : nullptr;
    const std::int64_t half = rope ? static_cast<std::int64_t>(rope->inv_freq.size()) : 0;
    for_row_blocks(n_, [&](std::int64_t begin, std::int64_t rows) {
      const Scratch normed(rows * hidden_), projected(rows * heads * d);
      rms_norm(rows, x(begin), w_.attention_norm, c_.rms_norm_eps, normed.get());
      matrix_ops().gemm_nt(rows, heads * d, hidden_, 1, normed.get(), hidden_, w_.qkv.data(), hidden_,
                           projected.get(), heads * d);
      add_bias(rows, w_.qkv_bias, projected.get());
      for (std::int64_t head = 0; head < heads; ++head) {
        const bool is_query = head < c_.q_heads, is_value = head >= c_.q_heads + c_.kv_heads;
        const std::vector<float>& norm = is_query ? w_.q_norm : w_.k_norm;
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t position = begin + r;
          float* from = projected.get() + (r * heads + head) * d;
          float* to = heads_.data() + (head * n_ + position) * d;
          if (!is_value && !norm.empty()) rms_norm(1, from, norm, c_.rms_norm_eps, from);
          if (is_value || !angles) {
            std::copy_n(from, d, to);
          } else {
            rotate(from, angles->cos.data() + position * half, angles->sin.data() + position * half, half, d,
                   to);
          }
        }
      }
    });
  }

  /// The residual stream of some rows grows by a product [rows, width] weights[hidden, width]^T.
  void add_product(std::int64_t begin, std::int64_t rows, const float* a, std::int64_t lda,
                   std::int64_t width, std::span<const float> weights, std::span<const float> bias,
                   std::span<const float> post_norm) {
    const MatrixOps& ops = matrix_ops();
    if (post_norm.empty()) {
      ops.gemm_nt_add(rows, hidden_, width, a, lda, weights.data(), width, x(begin), hidden_);
      add_bias(rows, bias, x(begin));
      return;
    }
    const Scratch product(rows * hidden_);
    ops.gemm_nt(rows, hidden_, width, 1, a, lda, weights.data(), width, product.get(), hidden_);
    add_bias(rows, bias, product.get());
    rms_norm(rows, product.get(), post_norm, c_.rms_norm_eps, product.get());
    for (std::int64_t i = 0; i < rows * hidden_; ++i) x(begin)[i] += product.get()[i];
  }

  void mix_heads(const AttentionResult& attention) {
    const std::int64_t d = c_.head_dim, q_size = c_.q_heads * d;
    for_row_blocks(n_, [&](std::int64_t begin, std::int64_t rows) {
      const Scratch mixed(rows * q_size);
      for (std::int64_t head = 0; head < c_.q_heads; ++head) {
        for (std::int64_t r = 0; r < rows; ++r) {
          std::copy_n(attention.out.data() + (head * n_ + begin + r) * d, d,
                      mixed.get() + r * q_size + head * d);
        }
      }
      add_product(begin, rows, mixed.get(), q_size, q_size, w_.output, w_.output_bias,
                  w_.post_attention_norm);
    });
  }

  void feed_forward() {
    const std::int64_t ffn = c_.ffn_size;
    for_row_blocks(n_, [&](std::int64_t begin, std::int64_t rows) {
      const Scratch normed(rows * hidden_), gated(rows * 2 * ffn);
      rms_norm(rows, x(begin), w_.ffn_norm, c_.rms_norm_eps, normed.get());
      matrix_ops().gemm_nt(rows, 2 * ffn, hidden_, 1, normed.get(), hidden_, w_.gate_up.data(), hidden_,
                           gated.get(), 2 * ffn);
      add_bias(rows, w_.gate_up_bias, gated.get());
      gate(c_.architecture->activation, rows, ffn, gated.get());
      add_product(begin, rows, gated.get(), 2 * ffn, ffn, w_.down, w_.down_bias, w_.post_ffn_norm);
    });
  }

  /// Experts one after the other, each over the rows that it gets, so that only one is expanded at a time.
  void mix_experts(int layer) {
    const MatrixOps& ops = matrix_ops();
    const std::int64_t ffn = c_.expert_ffn_size;
    AlignedVector<float> normed(x_.size());
    std::vector<float> logits(static_cast<std::size_t>(n_ * c_.experts));
    for_row_blocks(n_, [&](std::int64_t begin, std::int64_t rows) {
      float* in = normed.data() + begin * hidden_;
      rms_norm(rows, x(begin), w_.ffn_norm, c_.rms_norm_eps, in);
      ops.gemm_nt(rows, c_.experts, hidden_, 1, in, hidden_, w_.router.data(), hidden_,
                  logits.data() + begin * c_.experts, c_.experts);
    });
    const Routing routing = route(n_, c_.experts, c_.experts_used, c_.normalised_experts, logits);
    for (int expert = 0; expert < c_.experts; ++expert) {
      const auto& visits = routing.of_expert[static_cast<std::size_t>(expert)];
      if (visits.empty()) continue;
      check_interrupt();
      model_.expand_expert(layer, expert, expert_);
      for_row_blocks(std::ssize(visits), [&](std::int64_t begin, std::int64_t rows) {
        const Scratch in(rows * hidden_), gated(rows * 2 * ffn), out(rows * hidden_);
        const auto* visit = visits.data() + begin;
        for (std::int64_t r = 0; r < rows; ++r)
          std::copy_n(normed.data() + visit[r].row * hidden_, hidden_, in.get() + r * hidden_);
        ops.gemm_nt(rows, 2 * ffn, hidden_, 1, in.get(), hidden_, expert_.gate_up.data(), hidden_,
                    gated.get(), 2 * ffn);
        gate(c_.architecture->activation, rows, ffn, gated.get());
        ops.gemm_nt(rows, hidden_, ffn, 1, gated.get(), 2 * ffn, expert_.down.data(), ffn, out.get(),
                    hidden_);
        for (std::int64_t r = 0; r < rows; ++r) {
          float* stream = x(visit[r].row);
          for (std::int64_t i = 0; i < hidden_; ++i)
            stream[i] += visit[r].weight * out.get()[r * hidden_ + i];
        }
      });
    }
  }

  void check_stream(int layer) {
    for_row_blocks(n_, [&](std::int64_t begin, std::int64_t rows) {
      if (all_finite({x(begin), static_cast<std::size_t>(rows * hidden_)})) return;
      fail(
          "{}: layer {} makes values that are NaN or infinite, though its weights are finite: they overflow "
          "float32",
          model_.path(), layer);
    });
  }

  const LanguageModel& model_;
  const ModelConfig& c_;
  const Ropes& ropes_;
  std::int64_t n_, hidden_;
  AlignedVector<float> x_;
  std::vector<float> heads_;
  std::vector<Angles> angles_;
  std::vector<Rotation> rotations_;  ///< of the kinds of ropes_, for planners
  LanguageModel::Layer w_;           // its memory serves every layer
  LanguageModel::Expert expert_;
};

}  // namespace

AlignedVector<float> LanguageModel::forward(std::span<const int> tokens, const Ropes& ropes,
                                            const Hooks& hooks) const {
  return Pass(*this, tokens, ropes).run(hooks);
}

}  // namespace anchor
