#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "anchor/base/error.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/model_config.hpp"

namespace anchor {
namespace {

constexpr std::int64_t large = 1 << 24;

/// The hyper-parameters of one architecture: keys without its name in front.
class Keys {
 public:
  Keys(const GgufFile& file, const Architecture& row) : file_(file), prefix_(std::string(row.name) + ".") {}

  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  bool has(std::string_view key) const { return file_.has(name(key)); }
  template <class T>
  T get(std::string_view key) const {
    return file_.get<T>(name(key));
  }
  template <class T>
  bool holds(std::string_view key) const {
    const auto found = file_.metadata().find(name(key));
    return found != file_.metadata().end() && std::holds_alternative<T>(found->second);
  }
  template <class T>
  T get_or(std::string_view key, T fallback) const {
    return has(key) ? get<T>(key) : fallback;
  }
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const {
    return file_.integer(name(key), low, high);
  }

  /// A key that is not in the tables may change the result.
  void refuse_unknown(const Architecture& row) const {
    const auto listed = [](std::span<const std::string_view> keys, std::string_view key) {
      return std::ranges::find(keys, key) != keys.end();
    };
    for (const auto& [full, value] : file_.metadata()) {
      if (!full.starts_with(prefix_)) continue;
      const std::string_view key = full.substr(prefix_.size());
      if (!listed(gguf_keys, key) && !listed(harmless_gguf_keys, key) && !listed(row.gguf_keys, key)) {
        fail(
            "{}: metadata '{}' is not known for this architecture and may change what the model computes; "
            "dump it with data/hf_dump.py",
            file_.path(), full);
      }
    }
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

std::vector<float> vector_of(const WeightTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.shape[0]));
  tensor.row(0, values.data());
  return values;
}

// Attention factors as github.com/ggml-org/llama.cpp applies them (llama-context): yarn's own temperature,
// divided by that of yarn_log_multiplier, times attn_factor.
double attention_factor(const Keys& keys, const RopeScaling& scaling) {
  const double given = keys.get_or<double>("rope.scaling.attn_factor", 1) *
                       keys.get_or<double>("rope.scaling.yarn_attn_factor", 1);
  if (scaling.kind != RopeScaling::Kind::yarn) return given;
  const auto temperature = [&](double multiplier) {
    return scaling.factor <= 1 ? 1.0 : 0.1 * multiplier * std::log(scaling.factor) + 1;
  };
  const double multiplier = keys.get_or<double>("rope.scaling.yarn_log_multiplier", 0);
  return given * temperature(1) / (multiplier == 0 ? 1 : temperature(multiplier));
}

std::optional<RopeScaling> rope_scaling(const GgufFile& file, const Keys& keys, int rotated) {
  using Kind = RopeScaling::Kind;
  RopeScaling scaling;
  scaling.from_file = true;
  // github.com/ggml-org/llama.cpp takes a factor without a type for a linear one, under its old name, too.
  scaling.factor = keys.has("rope.scaling.factor") ? keys.get<double>("rope.scaling.factor")
                                                   : keys.get_or("rope.scale_linear", 0.);
  const bool has_factor = scaling.factor != 0;
  std::string_view type = keys.get_or<std::string_view>("rope.scaling.type", has_factor ? "linear" : "none");
  const bool longrope =
      file.find_tensor("rope_factors_long.weight") || file.find_tensor("rope_factors_short.weight");
  if (longrope) type = "longrope";
  scaling.original_context = keys.get_or<std::int64_t>("rope.scaling.original_context_length", 0);
  scaling.beta_fast = keys.get_or("rope.scaling.yarn_beta_fast", scaling.beta_fast);
  scaling.beta_slow = keys.get_or("rope.scaling.yarn_beta_slow", scaling.beta_slow);
  scaling.extrapolation = keys.get_or("rope.scaling.yarn_ext_factor", scaling.extrapolation);
  if (scaling.extrapolation < 0) scaling.extrapolation = 1;  // github.com/ggml-org/llama.cpp: the default
  if (type == "longrope") {
    if (!longrope)
      fail("{}: rope scaling 'longrope' without the tensors rope_factors_long and _short", file.path());
    scaling.kind = Kind::longrope;
    scaling.long_factors = vector_of(file.tensor("rope_factors_long.weight", 1, rotated / 2));
    scaling.short_factors = vector_of(file.tensor("rope_factors_short.weight", 1, rotated / 2));
    if (!has_factor) scaling.factor = 1;
  } else if (type == "yarn") {
    scaling.kind = Kind::yarn;
    scaling.factor = keys.get<double>("rope.scaling.factor");
  } else if (type == "linear") {
    if (!has_factor) scaling.factor = keys.get<double>("rope.scaling.factor");
  } else if (type == "none") {
    if (!keys.has("rope.scaling.attn_factor")) return std::nullopt;
    scaling.factor = 1;
  } else {
    fail("{}: rope scaling '{}' is not supported; linear, yarn and longrope are", file.path(), type);
  }
  scaling.attention_factor = attention_factor(keys, scaling);
  return scaling;
}

std::vector<std::int64_t> windows(const Keys& keys, const ModelConfig& c, const Architecture& row) {
  std::vector<std::int64_t> found(static_cast<std::size_t>(c.layers), 0);
  if (row.windows == WindowedLayers::none || !keys.has("attention.sliding_window")) return found;
  const std::int64_t window = keys.integer("attention.sliding_window", 0, std::int64_t{1} << 31);
  constexpr std::string_view pattern = "attention.sliding_window_pattern";
  if (row.windows == WindowedLayers::most && keys.holds<GgufFile::Integers>(pattern)) {
    const auto listed = keys.get<GgufFile::Integers>(pattern);
    if (listed.size() < found.size())
      fail("{} has {} values for {} layers", keys.name(pattern), listed.size(), c.layers);
    for (std::size_t layer = 0; layer < found.size(); ++layer) found[layer] = listed[layer] != 0 ? window : 0;
    return found;
  }
  std::int64_t period = row.windows == WindowedLayers::most ? row.period : 0;
  if (period > 0 && keys.has(pattern)) period = keys.integer(pattern, 1, 1000);
  for (std::size_t layer = 0; layer < found.size(); ++layer) {
    const bool whole = period > 0 && static_cast<std::int64_t>(layer + 1) % period == 0;
    found[layer] = whole ? 0 : window;
  }
  return found;
}

std::string json_of(const ModelConfig& c, const Architecture& row) {
  nlohmann::json json{{"model_type", row.model_types.front()},
                      {"vocab_size", c.vocab_size},
                      {"hidden_size", c.hidden_size},
                      {"intermediate_size", c.ffn_size},
                      {"max_position_embeddings", c.context_length},
                      {"num_hidden_layers", c.layers},
                      {"num_attention_heads", c.q_heads},
                      {"num_key_value_heads", c.kv_heads},
                      {"head_dim", c.head_dim},
                      {"rms_norm_eps", c.rms_norm_eps},
                      {"rope_theta", c.rope_theta},
                      {"tie_word_embeddings", c.tied_embeddings}};
  if (const std::int64_t window = *std::ranges::max_element(c.windows); window > 0)
    json["sliding_window"] = window;
  if (c.experts > 0) {
    json["num_experts"] = c.experts;
    json["num_experts_per_tok"] = c.experts_used;
    json["moe_intermediate_size"] = c.expert_ffn_size;
  }
  return json.dump();
}

}  // namespace

ModelConfig read_config(const GgufFile& file) {
  const std::string_view architecture = file.get<std::string_view>("general.architecture");
  const Architecture* row = find_architecture(architecture);
  if (!row) {
    std::string known;
    for (const Architecture& each : architectures())
      known.append(known.empty() ? "" : ", ").append(each.name);
    fail("{}: architecture '{}' is not supported, only {}; dump such a model with data/hf_dump.py",
         file.path(), architecture, known);
  }
  const Keys keys(file, *row);
  keys.refuse_unknown(*row);
  ModelConfig c;
  c.architecture = row;
  c.name = file.get_or<std::string_view>("general.name", "");
  c.hidden_size = keys.integer("embedding_length", 1, large);
  c.context_length = keys.integer("context_length", 1, std::int64_t{1} << 31);
  c.layers = static_cast<int>(keys.integer("block_count", 1, 1000));
  c.q_heads = static_cast<int>(keys.integer("attention.head_count", 1, 4096));
  c.kv_heads = keys.has("attention.head_count_kv")
                   ? static_cast<int>(keys.integer("attention.head_count_kv", 1, c.q_heads))
                   : c.q_heads;
  if (!keys.has("attention.key_length") && c.hidden_size % c.q_heads != 0) {
    fail("{}: embedding length {} does not divide into {} heads", file.path(), c.hidden_size, c.q_heads);
  }
  c.head_dim = keys.has("attention.key_length")
                   ? static_cast<int>(keys.integer("attention.key_length", 2, 1024))
                   : static_cast<int>(c.hidden_size / c.q_heads);
  if (keys.get_or<std::int64_t>("attention.value_length", c.head_dim) != c.head_dim)
    fail("{}: keys and values of different length are not supported", file.path());
  if (keys.has("rope.dimension_count"))
    c.rope_dims = static_cast<int>(keys.integer("rope.dimension_count", 2, 1024));
  if (row->pairs_are_neighbours && c.rotated_dims() != c.head_dim) {
    fail("{}: rotary embedding over a part of a head is not supported for architecture '{}'", file.path(),
         row->name);
  }
  for (const std::string_view key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (keys.get_or(key, 0.) != 0)
      fail("{}: metadata '{}': soft caps are not supported; dump such a model with data/hf_dump.py",
           file.path(), keys.name(key));
  }
  if (!keys.get_or("attention.causal", true))
    fail("{}: attention that is not causal is not supported", file.path());

  c.sparse.assign(static_cast<std::size_t>(c.layers), false);
  const std::int64_t experts = keys.has("expert_count") ? keys.integer("expert_count", 0, 4096) : 0;
  if (experts > 0 && !row->experts) {
    fail("{}: architecture '{}' with experts is not supported; dump such a model with data/hf_dump.py",
         file.path(), row->name);
  }
  if (experts > 0) {
    c.experts = static_cast<int>(experts);
    c.experts_used = static_cast<int>(keys.integer("expert_used_count", 1, experts));
    c.expert_ffn_size = keys.integer("expert_feed_forward_length", 1, large);
    c.normalised_experts = keys.get_or("expert_weights_norm", true);
    c.sparse.assign(c.sparse.size(), true);
    c.ffn_size = keys.has("feed_forward_length") ? keys.integer("feed_forward_length", 0, large) : 0;
  } else {
    c.ffn_size = keys.integer("feed_forward_length", 1, large);
  }

  c.rms_norm_eps = keys.get<double>("attention.layer_norm_rms_epsilon");
  c.rope_theta = keys.get_or("rope.freq_base", 10000.0);
  c.windows = windows(keys, c, *row);
  if (row->local_rope_theta > 0)
    c.local_rope_theta = keys.get_or("rope.freq_base_swa", row->local_rope_theta);
  c.rotated.assign(static_cast<std::size_t>(c.layers), true);
  for (int layer = 0; row->nope_interval > 0 && layer < c.layers; ++layer)
    c.rotated[static_cast<std::size_t>(layer)] = (layer + 1) % row->nope_interval != 0;

  c.softmax_scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  // Gemma 3 27B alone divides by the square root of hidden size / heads; its file does not say so.
  if (row->explicit_scale && c.layers == 62)
    c.softmax_scale = 1 / std::sqrt(static_cast<double>(c.hidden_size) / c.q_heads);
  if (row->scaled_embedding) c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  if (row->multipliers) {
    c.embedding_scale = keys.get_or("embedding_scale", 1.);
    c.residual_scale = keys.get_or("residual_scale", 1.);
    c.logit_scale = 1 / keys.get_or("logit_scale", 1.);
    const double scale = keys.get_or("attention.scale", 0.);
    if (scale != 0) c.softmax_scale = scale;
  }

  const GgufFile& store = file;
  const WeightTensor* embedding = store.find_tensor("token_embd.weight");
  if (!embedding) fail("{}: tensor 'token_embd.weight' is missing", file.path());
  c.vocab_size = embedding->shape[1];
  c.tied_embeddings = store.find_tensor("output.weight") == nullptr;
  c.rope_scaling = rope_scaling(file, keys, c.rotated_dims());
  if (store.find_tensor("rope_freqs.weight"))
    c.rope_divisors = vector_of(file.tensor("rope_freqs.weight", 1, c.rotated_dims() / 2));
  check_config(c, file.path());
  c.json = json_of(c, *row);
  return c;
}

}  // namespace anchor
