#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "anchor/base/error.hpp"
#include "anchor/model/hf_folder.hpp"
#include "anchor/model/model_config.hpp"

namespace anchor {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t large = 1 << 24;

/// Fields of a JSON object, with errors that name file and field. A field that is null counts as absent.
class Fields {
 public:
  Fields(std::string where, const Json& json) : where_(std::move(where)), json_(&json) {}

  const std::string& where() const { return where_; }
  const Json& json() const { return *json_; }
  bool has(const std::string& key) const { return json_->contains(key) && !json_->at(key).is_null(); }
  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high) const {
    const Json& value = need(key);
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() >> 62 != 0) ||
        value.get<std::int64_t>() < low || value.get<std::int64_t>() > high)
      fail("{}: '{}' is {}, not an integer in [{}, {}]", where_, key, shown(value), low, high);
    return value.get<std::int64_t>();
  }
  std::int64_t integer_or(const std::string& key, std::int64_t fallback, std::int64_t low,
                          std::int64_t high) const {
    return has(key) ? integer(key, low, high) : fallback;
  }
  double number(const std::string& key) const {
    const Json& value = need(key);
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      fail("{}: '{}' is {}, not a number", where_, key, shown(value));
    return value.get<double>();
  }
  double number_or(const std::string& key, double fallback) const {
    return has(key) ? number(key) : fallback;
  }
  bool flag_or(const std::string& key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!json_->at(key).is_boolean())
      fail("{}: '{}' is {}, not true or false", where_, key, shown(json_->at(key)));
    return json_->at(key).get<bool>();
  }
  std::string text(const std::string& key) const {
    const Json& value = need(key);
    if (!value.is_string()) fail("{}: '{}' is {}, not a string", where_, key, shown(value));
    return value.get<std::string>();
  }
  std::string text_or(const std::string& key, const std::string& fallback) const {
    return has(key) ? text(key) : fallback;
  }
  /// One element per layer at least.
  const Json& list(const std::string& key, std::size_t least) const {
    const Json& value = need(key);
    if (!value.is_array() || value.size() < least)
      fail("{}: '{}' is not a list of at least {} elements", where_, key, least);
    return value;
  }
  Fields object(const std::string& key) const {
    const Json& value = need(key);
    if (!value.is_object()) fail("{}: '{}' is not an object", where_, key);
    return {where_ + ": " + key, value};
  }

 private:
  static std::string shown(const Json& value) {
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() > 60 ? text.substr(0, 60) + "..." : text;
  }
  const Json& need(const std::string& key) const {
    if (!has(key)) fail("{}: '{}' is missing", where_, key);
    return json_->at(key);
  }

  std::string where_;
  const Json* json_;
};

bool says_nothing(const Json& value) {
  return value.is_null() || value == false || (value.is_string() && value.get<std::string>().empty()) ||
         ((value.is_array() || value.is_object()) && value.empty());
}

void refuse_unknown(const Fields& fields, const Architecture& row) {
  const auto listed = [](std::span<const std::string_view> keys, std::string_view key) {
    return std::ranges::find(keys, key) != keys.end();
  };
  for (const auto& [key, value] : fields.json().items()) {
    if (!listed(config_keys, key) && !listed(harmless_config_keys, key) && !listed(row.config_keys, key) &&
        !says_nothing(value)) {
      fail(
          "{}: '{}' is not known for model type '{}' and may change what the model computes; dump it with "
          "data/hf_dump.py",
          fields.where(), key, row.model_types.front());
    }
  }
}

std::vector<float> factors(const Fields& rope, const std::string& key) {
  std::vector<float> values;
  for (const Json& value : rope.list(key, 1)) {
    if (!value.is_number()) fail("{}: '{}' holds something else than numbers", rope.where(), key);
    values.push_back(value.get<float>());
  }
  return values;
}

// The rules of transformers' modeling_rope_utils for what a field's absence means.
std::optional<RopeScaling> rope_scaling(const Fields& rope, const Fields& config, const ModelConfig& c) {
  using Kind = RopeScaling::Kind;
  std::string type = rope.text_or("rope_type", rope.text_or("type", "default"));
  if (type == "su" || (type == "yarn" && c.architecture->name == "phi3")) type = "longrope";  // as Phi3Config
  if (type == "default" || type == "none") return std::nullopt;
  constexpr std::pair<std::string_view, Kind> kinds[] = {{"linear", Kind::linear},
                                                         {"dynamic", Kind::dynamic},
                                                         {"yarn", Kind::yarn},
                                                         {"llama3", Kind::llama3},
                                                         {"longrope", Kind::longrope}};
  const auto found = std::ranges::find(kinds, type, [](const auto& kind) { return std::string(kind.first); });
  if (found == std::end(kinds)) {
    fail("{}: rope type '{}' is not supported; linear, dynamic, yarn, llama3 and longrope are", rope.where(),
         type);
  }
  constexpr std::string_view known[] = {"rope_type",        "type",
                                        "rope_theta",       "partial_rotary_factor",
                                        "factor",           "original_max_position_embeddings",
                                        "attention_factor", "beta_fast",
                                        "beta_slow",        "mscale",
                                        "mscale_all_dim",   "truncate",
                                        "low_freq_factor",  "high_freq_factor",
                                        "short_factor",     "long_factor"};
  for (const auto& [key, value] : rope.json().items()) {
    if (std::ranges::find(known, key) == std::end(known) && !says_nothing(value))
      fail("{}: '{}' is not known and may change what the model computes", rope.where(), key);
  }
  RopeScaling scaling;
  scaling.kind = found->second;
  scaling.from_file = true;
  constexpr std::int64_t most = std::int64_t{1} << 31;
  scaling.original_context = rope.integer_or("original_max_position_embeddings", 0, 1, most);
  if (config.has("original_max_position_embeddings"))
    scaling.original_context = config.integer("original_max_position_embeddings", 1, most);
  const double original =
      static_cast<double>(scaling.original_context > 0 ? scaling.original_context : c.context_length);
  const bool by_context = scaling.kind == Kind::longrope || scaling.kind == Kind::yarn;
  scaling.factor =
      by_context ? rope.number_or("factor", std::max(1.0, static_cast<double>(c.context_length) / original))
                 : rope.number("factor");
  scaling.attention_factor = rope.number_or("attention_factor", 0);
  if (scaling.kind == Kind::yarn) {
    scaling.beta_fast = rope.number_or("beta_fast", 32);
    scaling.beta_slow = rope.number_or("beta_slow", 1);
    scaling.truncate = rope.flag_or("truncate", true);
    const double mscale = rope.number_or("mscale", 0), all = rope.number_or("mscale_all_dim", 0);
    if (scaling.attention_factor == 0 && mscale != 0 && all != 0 && scaling.factor > 1) {
      const double log = std::log(scaling.factor);
      scaling.attention_factor = (0.1 * mscale * log + 1) / (0.1 * all * log + 1);
    }
  }
  if (scaling.kind == Kind::llama3) {
    scaling.low_freq_factor = rope.number("low_freq_factor");
    scaling.high_freq_factor = rope.number("high_freq_factor");
  }
  if (scaling.kind == Kind::longrope) {
    scaling.short_factors = factors(rope, "short_factor");
    scaling.long_factors = factors(rope, "long_factor");
    if (scaling.attention_factor == 0) {
      scaling.attention_factor =
          scaling.factor <= 1 ? 1 : std::sqrt(1 + std::log(scaling.factor) / std::log(original));
    }
  }
  return scaling;
}

// rope_parameters of transformers 5 (one object, or one per kind of layer) or rope_theta and rope_scaling.
void read_rope(const Fields& config, ModelConfig& c) {
  c.rope_theta = config.number_or("rope_theta", c.architecture->default_rope_theta);
  double part = config.number_or("partial_rotary_factor", 1);
  c.local_rope_theta = c.architecture->local_rope_theta;
  if (c.local_rope_theta > 0)
    c.local_rope_theta = config.number_or("rope_local_base_freq", c.local_rope_theta);
  std::optional<Fields> rope;
  if (config.has("rope_scaling")) rope = config.object("rope_scaling");
  if (config.has("rope_parameters")) rope = config.object("rope_parameters");
  if (rope && (rope->has("full_attention") || rope->has("sliding_attention"))) {
    const Fields whole = *rope;
    if (whole.has("sliding_attention")) {
      const Fields local = whole.object("sliding_attention");
      if (c.architecture->local_rope_theta == 0 || local.text_or("rope_type", "default") != "default")
        fail("{}: rotary embedding of its own kind in windowed layers is not supported", local.where());
      c.local_rope_theta = local.number_or("rope_theta", c.local_rope_theta);
    }
    rope.reset();
    if (whole.has("full_attention")) rope = whole.object("full_attention");
  }
  if (rope) {
    c.rope_theta = rope->number_or("rope_theta", c.rope_theta);
    part = rope->number_or("partial_rotary_factor", part);
  }
  if (!(part > 0 && part <= 1))
    fail("{}: 'partial_rotary_factor' is {}, not in (0, 1]", config.where(), part);
  c.rope_dims = static_cast<int>(c.head_dim * part);
  if (rope) c.rope_scaling = rope_scaling(*rope, config, c);
}

void read_layers(const Fields& config, ModelConfig& c) {
  const Architecture& row = *c.architecture;
  const auto count = static_cast<std::size_t>(c.layers);
  c.windows.assign(count, 0);
  c.rotated.assign(count, true);
  if (row.nope_interval > 0) {
    const std::int64_t interval = config.integer_or("no_rope_layer_interval", row.nope_interval, 1, 10000);
    for (std::size_t n = 0; n < count; ++n) c.rotated[n] = static_cast<std::int64_t>(n + 1) % interval != 0;
    if (config.has("no_rope_layers")) {
      const Json& listed = config.list("no_rope_layers", count);
      for (std::size_t n = 0; n < count; ++n) c.rotated[n] = listed[n] == 1 || listed[n] == true;
    }
  }
  const bool optional =
      row.windows == WindowedLayers::after_max_window_layers || row.windows == WindowedLayers::if_used;
  if (row.windows == WindowedLayers::none || (optional && !config.flag_or("use_sliding_window", false)))
    return;
  const std::int64_t window = config.integer_or(
      "sliding_window", row.windows == WindowedLayers::most ? 4096 : 0, 1, std::int64_t{1} << 40);
  if (window == 0) return;
  const bool listed =
      config.has("layer_types") && std::ranges::find(row.config_keys, "layer_types") != row.config_keys.end();
  const Json* types = listed ? &config.list("layer_types", count) : nullptr;
  const std::int64_t first = row.windows == WindowedLayers::after_max_window_layers
                                 ? config.integer_or("max_window_layers", 28, 0, 1 << 20)
                                 : 0;
  std::int64_t period = row.period;
  if (row.windows == WindowedLayers::most)
    period = config.integer_or("sliding_window_pattern",
                               config.integer_or("_sliding_window_pattern", period, 1, 1000), 1, 1000);
  for (std::size_t n = 0; n < count; ++n) {
    const auto layer = static_cast<std::int64_t>(n);
    bool windowed = layer >= first && (period == 0 || (layer + 1) % period != 0);
    if (row.nope_interval > 0) windowed = !c.rotated[n];  // SmolLM3: only layers without rotary embedding
    if (types) {
      const Json& type = types->at(n);
      if (type != "sliding_attention" && type != "full_attention")
        fail("{}: layer type {} is not supported", config.where(), type.dump());
      windowed = type == "sliding_attention";
    }
    if (windowed) c.windows[n] = window;
  }
}

void read_experts(const Fields& config, ModelConfig& c) {
  c.sparse.assign(static_cast<std::size_t>(c.layers), false);
  if (!c.architecture->experts) return;
  const std::string count = config.has("num_local_experts") ? "num_local_experts" : "num_experts";
  c.experts = static_cast<int>(config.integer(count, 0, 4096));
  c.experts_used = static_cast<int>(config.integer("num_experts_per_tok", 0, 4096));
  c.expert_ffn_size = config.integer("moe_intermediate_size", 1, large);
  c.normalised_experts = config.flag_or("norm_topk_prob", false);
  const std::int64_t step = config.integer_or("decoder_sparse_step", 1, 1, 10000);
  for (std::size_t n = 0; n < c.sparse.size(); ++n)
    c.sparse[n] = c.experts > 0 && static_cast<std::int64_t>(n + 1) % step == 0;
  if (!config.has("mlp_only_layers")) return;
  for (const Json& layer : config.list("mlp_only_layers", 0)) {
    if (!layer.is_number_unsigned())
      fail("{}: 'mlp_only_layers' holds something else than layers", config.where());
    if (const auto n = layer.get<std::uint64_t>(); n < c.sparse.size()) c.sparse[n] = false;
  }
}

void read_scales(const Fields& config, ModelConfig& c) {
  const Architecture& row = *c.architecture;
  c.softmax_scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  if (row.explicit_scale) {
    const double scalar = config.number_or("query_pre_attn_scalar", 256);
    if (!(scalar > 0)) fail("{}: 'query_pre_attn_scalar' is {}, not above 0", config.where(), scalar);
    c.softmax_scale = 1 / std::sqrt(scalar);
  }
  if (row.scaled_embedding) c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  if (row.multipliers) {
    c.embedding_scale = config.number_or("embedding_multiplier", 1);
    c.residual_scale = config.number_or("residual_multiplier", 1);
    c.softmax_scale = config.number_or("attention_multiplier", 1);
    c.logit_scale = 1 / config.number_or("logits_scaling", 1);
  }
}

}  // namespace

ModelConfig read_config(const HfFolder& folder) {
  const std::string path = folder.path() + "/config.json";
  const Fields outer(path, folder.config());
  const std::string type = outer.text("model_type");
  const Architecture* row = find_model_type(type);
  if (!row) {
    std::string known;
    for (const Architecture& each : architectures()) {
      for (const std::string_view name : each.model_types)
        known.append(known.empty() ? "" : ", ").append(name);
    }
    fail("{}: model type '{}' is not supported, only {}; dump such a model with data/hf_dump.py", path, type,
         known);
  }
  const Fields config = outer.has("text_config") ? outer.object("text_config") : outer;
  refuse_unknown(config, *row);
  if (outer.has("quantization_config"))
    fail("{}: quantised weights are not supported; use the model's unquantised folder or a GGUF file", path);
  ModelConfig c;
  c.architecture = row;
  c.vocab_size = config.integer("vocab_size", 1, std::int64_t{1} << 30);
  c.hidden_size = config.integer("hidden_size", 1, large);
  c.ffn_size = config.integer("intermediate_size", 1, large);
  c.context_length = config.integer("max_position_embeddings", 1, std::int64_t{1} << 31);
  c.layers = static_cast<int>(config.integer("num_hidden_layers", 1, 1000));
  c.q_heads = static_cast<int>(config.integer("num_attention_heads", 1, 4096));
  c.kv_heads = static_cast<int>(config.integer_or("num_key_value_heads", c.q_heads, 1, c.q_heads));
  if (!config.has("head_dim") && row->default_head_dim == 0 && c.hidden_size % c.q_heads != 0)
    fail("{}: 'hidden_size' {} does not divide into {} heads", path, c.hidden_size, c.q_heads);
  c.head_dim = static_cast<int>(config.integer_or(
      "head_dim", row->default_head_dim > 0 ? row->default_head_dim : c.hidden_size / c.q_heads, 2, 1024));
  c.rms_norm_eps = config.number("rms_norm_eps");
  c.tied_embeddings =
      outer.flag_or("tie_word_embeddings", config.flag_or("tie_word_embeddings", row->default_tied));
  const std::string activation = config.text_or("hidden_act", config.text_or("hidden_activation", ""));
  const std::string expected = row->activation == Activation::silu ? "silu" : "gelu_pytorch_tanh";
  if (!activation.empty() && activation != expected)
    fail("{}: activation '{}' is not supported for this model type, only '{}'", path, activation, expected);
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (config.number_or(key, 0) != 0)
      fail("{}: '{}': soft caps are not supported; dump such a model with data/hf_dump.py", path, key);
  }
  for (const char* key : {"use_bidirectional_attention", "add_cross_attention"}) {
    if (config.has(key) && !says_nothing(config.json().at(key))) fail("{}: '{}' is not supported", path, key);
  }
  read_rope(config, c);
  read_layers(config, c);
  read_experts(config, c);
  read_scales(config, c);
  check_config(c, path);
  c.json = folder.config().dump(-1, ' ', false, Json::error_handler_t::replace);
  return c;
}

}  // namespace anchor
