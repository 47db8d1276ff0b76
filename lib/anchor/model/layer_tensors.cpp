#include "anchor/model/layer_tensors.hpp"

#include <unordered_set>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

/// The parts of a layer, with their names in GGUF files (after "blk.N.") and in Hugging Face's (after
/// "model.layers.N."). The norms of an architecture with post norms are named apart.
struct Name {
  std::string_view gguf, hugging_face;
};
constexpr Name attention_norm{"attn_norm", "input_layernorm"};
constexpr Name q_name{"attn_q", "self_attn.q_proj"}, k_name{"attn_k", "self_attn.k_proj"},
    v_name{"attn_v", "self_attn.v_proj"}, qkv_name{"attn_qkv", "self_attn.qkv_proj"},
    output_name{"attn_output", "self_attn.o_proj"};
constexpr Name q_norm_name{"attn_q_norm", "self_attn.q_norm"}, k_norm_name{"attn_k_norm", "self_attn.k_norm"};
constexpr Name post_attention_name{"post_attention_norm", "post_attention_layernorm"},
    post_ffn_name{"post_ffw_norm", "post_feedforward_layernorm"};
constexpr Name ffn_norm_name{"ffn_norm", "post_attention_layernorm"},
    ffn_norm_between{"ffn_norm", "pre_feedforward_layernorm"};
constexpr Name gate_name{"ffn_gate", "mlp.gate_proj"}, up_name{"ffn_up", "mlp.up_proj"},
    gate_up_name{"ffn_up", "mlp.gate_up_proj"}, down_name{"ffn_down", "mlp.down_proj"};
constexpr Name router_name{"ffn_gate_inp", "mlp.gate"};

class Finder {
 public:
  Finder(const TensorStore& store, const ModelConfig& config, TensorNames names)
      : store_(store), c_(config), row_(*config.architecture), gguf_(names == TensorNames::gguf) {
    if (gguf_) return;
    // Models of text and images keep the language model under a name of its own.
    for (const std::string_view prefix : {"model.", "language_model.model.", "model.language_model."}) {
      prefix_ = prefix;
      if (store.find_tensor(prefix_ + "embed_tokens.weight")) return;
    }
    prefix_ = "model.";
  }

  ModelTensors find() {
    ModelTensors t;
    t.pairs_are_neighbours = gguf_ && row_.pairs_are_neighbours;
    t.norms_plus_one = !gguf_ && row_.norms_plus_one;
    const std::string head = gguf_ ? "output.weight" : head_name();
    t.embedding =
        &matrix(gguf_ ? "token_embd.weight" : prefix_ + "embed_tokens.weight", c_.vocab_size, c_.hidden_size);
    t.output = c_.tied_embeddings ? t.embedding : &matrix(head, c_.vocab_size, c_.hidden_size);
    if (c_.tied_embeddings) used_.insert(head);
    t.output_norm = vector(gguf_ ? "output_norm.weight" : prefix_ + "norm.weight", c_.hidden_size);
    for (layer_ = 0; layer_ < c_.layers; ++layer_) t.layers.push_back(layer());
    refuse_unused();
    return t;
  }

 private:
  std::string head_name() const {
    return prefix_ == "language_model.model." ? "language_model.lm_head.weight" : "lm_head.weight";
  }
  std::string name(const Name& part, std::string_view kind = "weight") const {
    return gguf_ ? fmt::format("blk.{}.{}.{}", layer_, part.gguf, kind)
                 : fmt::format("{}layers.{}.{}.{}", prefix_, layer_, part.hugging_face, kind);
  }
  bool has(const std::string& tensor) const { return store_.find_tensor(tensor) != nullptr; }

  const WeightTensor& matrix(const std::string& tensor, std::int64_t rows, std::int64_t columns) {
    const WeightTensor& found = store_.tensor(tensor, rows, columns);
    used_.emplace(found.name);
    return found;
  }
  TensorValues vector(const std::string& tensor, std::int64_t size) {
    return {&matrix(tensor, 1, size), 0, size};
  }
  TensorValues norm(const Name& part, std::int64_t size) { return vector(name(part), size); }

  // A bias is applied wherever there is one.
  Projection projection(const Name& part, std::int64_t rows, std::int64_t columns, bool needs_bias = false) {
    Projection found{{&matrix(name(part), rows, columns), 0, rows}, {}};
    if (needs_bias || has(name(part, "bias"))) found.bias = vector(name(part, "bias"), rows);
    return found;
  }
  static Projection part_of(const Projection& fused, std::int64_t first, std::int64_t count) {
    Projection part = fused;
    part.rows.first = first;
    part.rows.count = count;
    if (part.bias) part.bias.first = first, part.bias.count = count;
    return part;
  }

  LayerTensors layer() {
    const std::int64_t hidden = c_.hidden_size, d = c_.head_dim, q = c_.q_heads * d, kv = c_.kv_heads * d;
    LayerTensors t;
    t.attention_norm = norm(attention_norm, hidden);
    if (row_.fused_qkv && has(name(qkv_name))) {
      const Projection fused = projection(qkv_name, q + 2 * kv, hidden);
      t.q = part_of(fused, 0, q);
      t.k = part_of(fused, q, kv);
      t.v = part_of(fused, q + kv, kv);
    } else {
      t.q = projection(q_name, q, hidden, row_.qkv_bias);
      t.k = projection(k_name, kv, hidden, row_.qkv_bias);
      t.v = projection(v_name, kv, hidden, row_.qkv_bias);
    }
    if (row_.qk_norm) t.q_norm = norm(q_norm_name, d), t.k_norm = norm(k_norm_name, d);
    t.output = projection(output_name, hidden, q);
    if (row_.post_norms) {
      t.post_attention_norm = norm(post_attention_name, hidden);
      t.post_ffn_norm = norm(post_ffn_name, hidden);
    }
    t.ffn_norm = norm(row_.post_norms ? ffn_norm_between : ffn_norm_name, hidden);
    if (c_.sparse[static_cast<std::size_t>(layer_)]) {
      find_experts(t);
    } else {
      if (row_.fused_gate_up) {
        const Projection fused = projection(gate_up_name, 2 * c_.ffn_size, hidden);
        t.dense.gate = part_of(fused, 0, c_.ffn_size);
        t.dense.up = part_of(fused, c_.ffn_size, c_.ffn_size);
      } else {
        t.dense.gate = projection(gate_name, c_.ffn_size, hidden);
        t.dense.up = projection(up_name, c_.ffn_size, hidden);
      }
      t.dense.down = projection(down_name, hidden, c_.ffn_size);
    }
    return t;
  }

  const WeightTensor& stack(const std::string& tensor, std::int64_t rows, std::int64_t columns) {
    const WeightTensor& found = store_.stack(tensor, c_.experts, rows, columns);
    used_.emplace(found.name);
    return found;
  }

  // Experts lie in stacks (GGUF; gate and up fused in some folders) or one by one.
  void find_experts(LayerTensors& t) {
    const std::int64_t hidden = c_.hidden_size, ffn = c_.expert_ffn_size;
    t.router = {&matrix(name(router_name), c_.experts, hidden), 0, c_.experts};
    const auto hf = [&](const std::string& rest) {
      return fmt::format("{}layers.{}.mlp.experts.{}", prefix_, layer_, rest);
    };
    const WeightTensor *gate = nullptr, *up = nullptr, *down = nullptr;
    bool fused = false;
    if (gguf_) {
      gate = &stack(name({"ffn_gate_exps", ""}), ffn, hidden);
      up = &stack(name({"ffn_up_exps", ""}), ffn, hidden);
      down = &stack(name({"ffn_down_exps", ""}), hidden, ffn);
    } else if (has(hf("gate_up_proj"))) {
      gate = up = &stack(hf("gate_up_proj"), 2 * ffn, hidden);
      down = &stack(hf("down_proj"), hidden, ffn);
      fused = true;
    }
    for (int n = 0; n < c_.experts; ++n) {
      FeedForward expert;
      if (gate) {
        const std::int64_t stride = fused ? 2 * ffn : ffn;
        expert.gate.rows = {gate, n * stride, ffn};
        expert.up.rows = {up, n * stride + (fused ? ffn : 0), ffn};
        expert.down.rows = {down, n * hidden, hidden};
      } else {
        const auto one = [&](const char* part, std::int64_t rows, std::int64_t columns) {
          return Projection{{&matrix(hf(fmt::format("{}.{}.weight", n, part)), rows, columns), 0, rows}, {}};
        };
        expert = {one("gate_proj", ffn, hidden), one("up_proj", ffn, hidden), one("down_proj", hidden, ffn)};
      }
      t.experts.push_back(expert);
    }
  }

  void refuse_unused() const {
    for (const WeightTensor& tensor : store_.tensors()) {
      if (used_.contains(std::string(tensor.name)) || harmless(tensor.name)) continue;
      fail(
          "{}: tensor '{}' is not part of the architecture '{}' as it is supported; dump such a model with "
          "data/hf_dump.py",
          store_.path(), tensor.name, row_.name);
    }
  }
  bool harmless(std::string_view tensor) const {
    if (gguf_) return tensor == "rope_freqs.weight" || tensor.starts_with("rope_factors_");
    if (tensor.ends_with(".rotary_emb.inv_freq")) return true;  // old checkpoints keep what config.json says
    // The images' side of a model, where the text's has a name of its own.
    return prefix_ != "model." && (tensor.find("vision_tower.") != std::string_view::npos ||
                                   tensor.find("multi_modal_projector.") != std::string_view::npos);
  }

  const TensorStore& store_;
  const ModelConfig& c_;
  const Architecture& row_;
  bool gguf_;
  std::string prefix_;
  int layer_ = 0;
  std::unordered_set<std::string> used_;
};

}  // namespace

ModelTensors find_tensors(const TensorStore& store, const ModelConfig& config, TensorNames names) {
  return Finder(store, config, names).find();
}

}  // namespace anchor
