#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/base/aligned.hpp"
#include "anchor/model/layer_tensors.hpp"
#include "anchor/model/model_config.hpp"
#include "anchor/model/rope.hpp"

namespace anchor {

/// Attention of one whole layer: q after RoPE, k and v un-repeated.
using AttentionFn = std::function<AttentionResult(int layer, const AttentionInputs&)>;
/// Sees every layer's attention problem and result while they are in memory.
using LayerFn = std::function<void(int layer, const AttentionInputs&, const AttentionResult&)>;
/// Called after each step of a long computation; `done` of `total` equal parts are finished.
using ProgressFn = std::function<void(std::int64_t done, std::int64_t total)>;

/// A decoder-only language model of one of the architectures in architecture.cpp, run over a whole text at
/// once in float32.
///
/// Every weight is used once per text, so matrices stay as they are stored in the mapped file and are
/// expanded one layer, or one expert, at a time. Memory: one layer's weights as floats, the residual stream
/// [tokens, hidden], and one layer's q, k, v and attention output.
class LanguageModel {
 public:
  /// Checks the presence and shape of every tensor. Throws data errors, also for a tensor that it would have
  /// to ignore (a model with norms of its own computes something else). The file must outlive the model.
  explicit LanguageModel(const GgufFile& file);
  explicit LanguageModel(const HfFolder& folder);

  const ModelConfig& config() const { return config_; }
  const std::string& path() const { return path_; }
  /// The rotary frequencies of a text of this length; `scaling` replaces the one that the file asks for.
  Ropes ropes(const std::optional<RopeScaling>& scaling, std::int64_t tokens) const {
    return make_ropes(config_, scaling, tokens);
  }
  /// The attention problem of one layer over a whole text, window included.
  Geometry geometry(int layer, std::int64_t tokens) const;

  struct Hooks {
    AttentionFn attention;
    LayerFn on_layer;        ///< may be empty
    ProgressFn on_progress;  ///< per layer; may be empty
  };
  /// Final hidden states [tokens, hidden], after the last norm. Q and K reach the hooks in Hugging Face's
  /// layout (dimension i rotates with i + half of the rotated ones), not in GGUF's interleaved one. A data
  /// error names a weight that is NaN or infinite, or the layer whose values overflow.
  AlignedVector<float> forward(std::span<const int> tokens, const Ropes& ropes, const Hooks& hooks) const;

  /// Mean negative log-likelihood (nats) of tokens 1..N-1 given their past; perplexity is its exponential.
  /// The logits are made in pieces and never stored. NaN for a single token. Spans that both begin at token n
  /// give the mean over the tokens after it.
  double mean_nll(std::span<const int> tokens, std::span<const float> hidden) const;
  /// Logits [rows, vocab_size] of hidden states [rows, hidden]; each row of weights is expanded once.
  std::vector<float> logits(std::span<const float> hidden) const;

  /// One layer's weights as floats, rows first; queries and keys in Hugging Face's layout. The multiplier of
  /// what joins the residual stream is part of output and down. What the model does not have is empty.
  struct Layer {
    std::vector<float> attention_norm, ffn_norm;            ///< [hidden]
    std::vector<float> q_norm, k_norm;                      ///< [head_dim]
    std::vector<float> post_attention_norm, post_ffn_norm;  ///< [hidden]
    std::vector<float> qkv, qkv_bias;                       ///< [(q_heads + 2 kv_heads) head_dim, hidden]
    std::vector<float> output, output_bias;                 ///< [hidden, q_heads head_dim]
    std::vector<float> gate_up, gate_up_bias;               ///< [2 ffn, hidden]
    std::vector<float> down, down_bias;                     ///< [hidden, ffn]
    std::vector<float> router;  ///< [experts, hidden]: then gate_up and down are empty
  };
  void expand(int layer, Layer& into) const;
  /// Its norms and biases alone.
  void expand_vectors(int layer, Layer& into) const;
  /// One expert of a layer.
  struct Expert {
    std::vector<float> gate_up;  ///< [2 expert_ffn_size, hidden]
    std::vector<float> down;     ///< [hidden, expert_ffn_size]
  };
  void expand_expert(int layer, int expert, Expert& into) const;
  /// Embeddings of the tokens [tokens, hidden]; a data error names one outside the vocabulary.
  AlignedVector<float> embed(std::span<const int> tokens) const;
  const std::vector<float>& output_norm() const {
    return output_norm_;
  }  ///< [hidden], logit multiplier included

  /// Where the weights of a layer lie, and how their rows are stored: for readers of their own (packing.hpp).
  const LayerTensors& layer_tensors(int layer) const {
    return tensors_.layers[static_cast<std::size_t>(layer)];
  }
  bool pairs_are_neighbours() const { return tensors_.pairs_are_neighbours; }
  /// [vocab_size, hidden].
  TensorRows output_rows() const { return {tensors_.output, 0, config_.vocab_size}; }

 private:
  LanguageModel(const TensorStore& store, ModelConfig config, TensorNames names);
  void expand_rows(const TensorRows& rows, float* out) const;
  void expand_values(const TensorValues& values, bool is_norm, std::vector<float>& out) const;

  std::string path_;
  ModelConfig config_;
  ModelTensors tensors_;
  std::vector<float> output_norm_;
};

}  // namespace anchor
