#include "anchor/model/llama_config.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "anchor/base/error.hpp"

namespace anchor {

LlamaConfig read_llama_config(const GgufFile& file) {
  const std::string_view architecture = file.get<std::string_view>("general.architecture");
  if (architecture != "llama") {
    fail("{}: architecture '{}' is not supported, only 'llama' is; dump such a model with data/hf_dump.py",
         file.path(), architecture);
  }
  constexpr std::int64_t large = 1 << 24;
  LlamaConfig config;
  config.name = file.get_or<std::string_view>("general.name", "");
  config.hidden_size = file.integer("llama.embedding_length", 1, large);
  config.ffn_size = file.integer("llama.feed_forward_length", 1, large);
  config.context_length = file.integer("llama.context_length", 1, std::int64_t{1} << 31);
  config.layers = static_cast<int>(file.integer("llama.block_count", 1, 1000));
  config.q_heads = static_cast<int>(file.integer("llama.attention.head_count", 1, 4096));
  config.kv_heads = file.has("llama.attention.head_count_kv")
                        ? static_cast<int>(file.integer("llama.attention.head_count_kv", 1, config.q_heads))
                        : config.q_heads;
  if (config.q_heads % config.kv_heads != 0) {
    fail("{}: {} query heads cannot share {} KV heads evenly", file.path(), config.q_heads, config.kv_heads);
  }
  if (!file.has("llama.attention.key_length") && config.hidden_size % config.q_heads != 0) {
    fail("{}: embedding length {} does not divide into {} heads", file.path(), config.hidden_size,
         config.q_heads);
  }
  config.head_dim = file.has("llama.attention.key_length")
                        ? static_cast<int>(file.integer("llama.attention.key_length", 2, 1024))
                        : static_cast<int>(config.hidden_size / config.q_heads);
  if (file.get_or<std::int64_t>("llama.attention.value_length", config.head_dim) != config.head_dim) {
    fail("{}: keys and values of different length are not supported", file.path());
  }
  if (config.head_dim < 4 || config.head_dim % 2 != 0 ||
      file.get_or<std::int64_t>("llama.rope.dimension_count", config.head_dim) != config.head_dim) {
    fail("{}: rotary embedding over a part of a head, or for head_dim {}, is not supported", file.path(),
         config.head_dim);
  }
  if (file.get_or<std::int64_t>("llama.expert_count", 0) != 0) {
    fail("{}: mixture-of-experts models are not supported; dump such a model with data/hf_dump.py",
         file.path());
  }
  config.rms_norm_eps = file.get<double>("llama.attention.layer_norm_rms_epsilon");
  config.rope_theta = file.get_or<double>("llama.rope.freq_base", 10000.0);
  if (!(config.rms_norm_eps >= 0 && config.rms_norm_eps < 1)) {
    fail("{}: layer_norm_rms_epsilon {} is impossible", file.path(), config.rms_norm_eps);
  }
  if (!(config.rope_theta > 1 && std::isfinite(config.rope_theta))) {
    fail("{}: rope.freq_base {} is impossible", file.path(), config.rope_theta);
  }
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (!embedding) fail("{}: tensor 'token_embd.weight' is missing", file.path());
  config.vocab_size = embedding->shape[1];
  config.tied_embeddings = file.find_tensor("output.weight") == nullptr;
  return config;
}

std::string LlamaConfig::to_json() const {
  return nlohmann::json{{"model_type", "llama"},
                        {"vocab_size", vocab_size},
                        {"hidden_size", hidden_size},
                        {"intermediate_size", ffn_size},
                        {"max_position_embeddings", context_length},
                        {"num_hidden_layers", layers},
                        {"num_attention_heads", q_heads},
                        {"num_key_value_heads", kv_heads},
                        {"head_dim", head_dim},
                        {"rms_norm_eps", rms_norm_eps},
                        {"rope_theta", rope_theta},
                        {"tie_word_embeddings", tied_embeddings}}
      .dump();
}

}  // namespace anchor
