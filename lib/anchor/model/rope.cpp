#include "anchor/model/rope.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr std::array<std::string_view, 5> kind_names{"linear", "dynamic", "yarn", "llama3", "longrope"};
constexpr std::size_t requestable = 3;  // the first ones; the others need more than a factor

std::optional<RopeScaling::Kind> parse_kind(std::string_view name) {
  for (std::size_t i = 0; i < requestable; ++i) {
    if (kind_names[i] == name) return static_cast<RopeScaling::Kind>(i);
  }
  return std::nullopt;
}

// Weight of interpolation per pair: 0 for pairs that turn often within the pretraining context (beta_fast
// turns), 1 for those that turn less than beta_slow times, linear in between (YaRN, section 3.2).
std::vector<double> yarn_ramp(int dims, double theta, double context, const RopeScaling& scaling) {
  const auto pair_that_turns = [&](double turns) {
    return dims * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = pair_that_turns(scaling.beta_fast), high = pair_that_turns(scaling.beta_slow);
  if (scaling.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1.0);
  if (low == high) high += 0.001;
  std::vector<double> ramp(static_cast<std::size_t>(dims / 2));
  for (std::size_t i = 0; i < ramp.size(); ++i) {
    ramp[i] = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  }
  return ramp;
}

// Llama 3.1: pairs of long waves are interpolated, those of short ones are not, with a blend between.
double llama3_share(double inv_freq, double context, const RopeScaling& scaling) {
  const double turns = context * inv_freq / (2 * std::numbers::pi);
  const double smooth =
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return 1 - std::clamp(smooth, 0.0, 1.0);
}

/// Scales the frequencies, notes the parameters in `json`, and returns the attention factor of the rule
/// itself.
double scale(std::vector<double>& inv_freq, const RopeScaling& scaling, const ModelConfig& config,
             double theta, std::int64_t tokens, nlohmann::json& json) {
  using Kind = RopeScaling::Kind;
  const std::int64_t original =
      scaling.original_context > 0 ? scaling.original_context : config.context_length;
  const auto context = static_cast<double>(original);
  json["rope_type"] = kind_names[static_cast<std::size_t>(scaling.kind)];
  json["factor"] = scaling.factor;
  double factor = 1;
  if (scaling.kind == Kind::linear) {
    for (double& f : inv_freq) f /= scaling.factor;
  } else if (scaling.kind == Kind::yarn) {
    const std::vector<double> ramp =
        yarn_ramp(static_cast<int>(2 * inv_freq.size()), theta, context, scaling);
    for (std::size_t i = 0; i < inv_freq.size(); ++i) {
      const double unscaled = (1 - ramp[i]) * scaling.extrapolation;
      inv_freq[i] *= (1 - unscaled) / scaling.factor + unscaled;
    }
    if (scaling.factor > 1) factor = 0.1 * std::log(scaling.factor) + 1;
    if (scaling.beta_fast != 32) json["beta_fast"] = scaling.beta_fast;
    if (scaling.beta_slow != 1) json["beta_slow"] = scaling.beta_slow;
  } else if (scaling.kind == Kind::llama3) {
    for (double& f : inv_freq) {
      const double share = llama3_share(f, context, scaling);
      f *= share / scaling.factor + 1 - share;
    }
    json["low_freq_factor"] = scaling.low_freq_factor;
    json["high_freq_factor"] = scaling.high_freq_factor;
  } else if (scaling.kind == Kind::longrope) {
    const std::vector<float>& divisors = tokens > original ? scaling.long_factors : scaling.short_factors;
    for (std::size_t i = 0; i < inv_freq.size(); ++i) inv_freq[i] /= static_cast<double>(divisors[i]);
    json["short_factor"] = scaling.short_factors;
    json["long_factor"] = scaling.long_factors;
  }
  if (scaling.kind == Kind::yarn || scaling.kind == Kind::llama3 || scaling.kind == Kind::longrope)
    json["original_max_position_embeddings"] = original;
  return factor;
}

/// The most tokens that a context, scaled or not, has room for; dynamic scaling has no limit.
std::int64_t longest(const ModelConfig& config, const std::optional<RopeScaling>& scaling) {
  using Kind = RopeScaling::Kind;
  const auto times = [&](std::int64_t context) {
    constexpr double most = 1e18;  // far beyond any text, and an integer
    return static_cast<std::int64_t>(std::min(most, static_cast<double>(context) * scaling->factor));
  };
  if (!scaling || scaling->kind == Kind::longrope || scaling->kind == Kind::llama3)
    return config.context_length;
  if (scaling->kind == Kind::dynamic) return std::numeric_limits<std::int64_t>::max();
  // A yarn scaling that came with the file names the context that it starts from.
  if (scaling->original_context > 0) return std::max(config.context_length, times(scaling->original_context));
  return times(config.context_length);
}

}  // namespace

RopeScaling parse_rope_scaling(std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto kind = parse_kind(text.substr(0, colon));
  double factor = 0;
  bool valid = kind && colon != std::string_view::npos;
  if (valid) {
    const std::string_view number = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), factor);
    valid =
        error == std::errc() && end == number.data() + number.size() && std::isfinite(factor) && factor >= 1;
  }
  if (!valid) fail_usage("rope scaling '{}' is not linear:F, dynamic:F or yarn:F with a factor F >= 1", text);
  return {*kind, factor};
}

void Rope::tables(std::int64_t tokens, std::vector<float>& cos, std::vector<float>& sin) const {
  cos.resize(static_cast<std::size_t>(tokens) * inv_freq.size());
  sin.resize(cos.size());
  for (std::size_t i = 0; i < cos.size(); ++i) {
    // The angle is a float product, as in transformers; its rounding matters at large positions.
    const float angle = static_cast<float>(i / inv_freq.size()) * inv_freq[i % inv_freq.size()];
    cos[i] = static_cast<float>(std::cos(static_cast<double>(angle)) * attention_factor);
    sin[i] = static_cast<float>(std::sin(static_cast<double>(angle)) * attention_factor);
  }
}

Rope make_rope(const ModelConfig& config, const std::optional<RopeScaling>& scaling, std::int64_t tokens,
               const std::vector<float>& divisors) {
  if (const std::int64_t limit = longest(config, scaling); tokens > limit) {
    if (!scaling || scaling->from_file) {
      fail(
          "{} tokens are more than the model's context of {}; take fewer (--tokens) or ask for "
          "--rope-scaling "
          "linear:F, dynamic:F or yarn:F",
          tokens, limit);
    }
    fail(
        "{} tokens are more than the context of {} that rope scaling {}:{} gives; use a larger factor or "
        "fewer "
        "tokens (--tokens)",
        tokens, limit, kind_names[static_cast<std::size_t>(scaling->kind)], scaling->factor);
  }

  const int dims = config.rotated_dims();
  double theta = config.rope_theta;
  if (scaling && scaling->kind == RopeScaling::Kind::dynamic) {
    const auto context = static_cast<double>(config.context_length);
    const double seen = std::max(static_cast<double>(tokens), context), width = dims;
    theta *= std::pow(scaling->factor * seen / context - (scaling->factor - 1), width / (width - 2));
  }
  Rope rope;
  std::vector<double> inv_freq(static_cast<std::size_t>(dims / 2));
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = std::pow(theta, -2.0 * static_cast<double>(i) / dims);
    if (!divisors.empty()) inv_freq[i] /= static_cast<double>(divisors[i]);
  }
  nlohmann::json json{{"rope_type", "default"}, {"rope_theta", config.rope_theta}};
  if (!divisors.empty()) json["frequency_divisors"] = divisors;
  if (dims != config.head_dim) json["partial_rotary_factor"] = static_cast<double>(dims) / config.head_dim;
  if (scaling) {
    rope.attention_factor = scale(inv_freq, *scaling, config, theta, tokens, json);
    if (scaling->attention_factor != 0) rope.attention_factor = scaling->attention_factor;
    if (rope.attention_factor != 1 || scaling->kind == RopeScaling::Kind::yarn)
      json["attention_factor"] = rope.attention_factor;
  }
  rope.inv_freq.assign(inv_freq.begin(), inv_freq.end());
  rope.json = json.dump();
  return rope;
}

Ropes make_ropes(const ModelConfig& config, const std::optional<RopeScaling>& scaling, std::int64_t tokens) {
  Ropes ropes;
  ropes.kinds.push_back(
      make_rope(config, scaling ? scaling : config.rope_scaling, tokens, config.rope_divisors));
  ropes.json = ropes.kinds[0].json;
  ropes.of_layer.assign(static_cast<std::size_t>(config.layers), 0);
  if (config.local_rope_theta > 0) {
    ModelConfig local = config;
    local.rope_theta = config.local_rope_theta;
    local.context_length = std::max(config.context_length, tokens);
    ropes.kinds.push_back(make_rope(local, std::nullopt, tokens));
    ropes.json = nlohmann::json{{"full_attention", nlohmann::json::parse(ropes.kinds[0].json)},
                                {"sliding_attention", nlohmann::json::parse(ropes.kinds[1].json)}}
                     .dump();
  }
  for (std::size_t layer = 0; layer < ropes.of_layer.size(); ++layer) {
    if (config.local_rope_theta > 0 && config.windows[layer] > 0) ropes.of_layer[layer] = 1;
    if (!config.rotated[layer]) ropes.of_layer[layer] = -1;
  }
  return ropes;
}

}  // namespace anchor
