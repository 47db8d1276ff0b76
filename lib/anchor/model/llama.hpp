#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/base/aligned.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/llama_config.hpp"
#include "anchor/model/rope.hpp"

namespace anchor {

/// Attention of one whole layer: q after RoPE, k and v un-repeated.
using AttentionFn = std::function<AttentionResult(int layer, const AttentionInputs&)>;
/// Sees every layer's attention problem and result while they are in memory.
using LayerFn = std::function<void(int layer, const AttentionInputs&, const AttentionResult&)>;
/// Called after each step of a long computation; `done` of `total` equal parts are finished.
using ProgressFn = std::function<void(std::int64_t done, std::int64_t total)>;

/// A Llama-architecture language model in a GGUF file, run over a whole text at once in float32.
///
/// Every weight is used once per text, so matrices stay quantised in the mapped file and are expanded one
/// layer at a time. Memory: one layer's weights as floats, the residual stream [tokens, hidden], and one
/// layer's q, k, v and attention output.
class LlamaModel {
 public:
  /// Checks the presence and shape of every tensor. Throws data errors, also for a tensor that it would have
  /// to ignore (a model with biases or norms of its own computes something else). The file must outlive the
  /// model.
  explicit LlamaModel(const GgufFile& file);

  const LlamaConfig& config() const { return config_; }
  /// The rotary frequencies of a text of this length; `scaling` replaces the one that the file asks for.
  Rope rope(const std::optional<RopeScaling>& scaling, std::int64_t tokens) const;

  struct Hooks {
    AttentionFn attention;
    LayerFn on_layer;        ///< may be empty
    ProgressFn on_progress;  ///< per layer; may be empty
  };
  /// Final hidden states [tokens, hidden], after the last norm. Q and K reach the hooks in Hugging Face's
  /// layout (dimension i rotates with i + head_dim / 2), not in GGUF's interleaved one.
  AlignedVector<float> forward(std::span<const int> tokens, const Rope& rope, const Hooks& hooks) const;

  /// Mean negative log-likelihood (nats) of tokens 1..N-1 given their past; perplexity is its exponential.
  /// The logits are made in pieces and never stored. NaN for a single token. Spans that both begin at token n
  /// give the mean over the tokens after it.
  double mean_nll(std::span<const int> tokens, std::span<const float> hidden) const;
  /// Logits [vocab_size] of one hidden state.
  std::vector<float> logits(std::span<const float> hidden) const;

  /// One layer's weights as floats, rows first; queries and keys in Hugging Face's layout.
  struct Layer {
    std::vector<float> attention_norm, ffn_norm;  ///< [hidden]
    std::vector<float> qkv;                       ///< [(q_heads + 2 kv_heads) head_dim, hidden]
    std::vector<float> output;                    ///< [hidden, q_heads head_dim]
    std::vector<float> gate_up;                   ///< [2 ffn, hidden]
    std::vector<float> down;                      ///< [hidden, ffn]
  };
  void expand(int layer, Layer& into) const;
  /// Embeddings of the tokens [tokens, hidden]; a data error names one outside the vocabulary.
  AlignedVector<float> embed(std::span<const int> tokens) const;
  const std::vector<float>& output_norm() const { return output_norm_; }  ///< [hidden]
  std::vector<float> output_weights() const;                              ///< [vocab_size, hidden]

 private:
  const GgufFile& file_;
  LlamaConfig config_;
  std::vector<float> output_norm_;
  const GgufTensor* embedding_ = nullptr;
  const GgufTensor* output_ = nullptr;  ///< [vocab_size, hidden]
};

}  // namespace anchor
