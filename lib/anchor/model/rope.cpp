#include "anchor/model/rope.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr std::array<std::string_view, 3> kind_names{"linear", "dynamic", "yarn"};

std::optional<RopeScaling::Kind> parse_kind(std::string_view name) {
  for (std::size_t i = 0; i < kind_names.size(); ++i) {
    if (kind_names[i] == name) return static_cast<RopeScaling::Kind>(i);
  }
  return std::nullopt;
}

// Weight of interpolation per pair: 0 for pairs that turn often within the pretraining context (beta_fast =
// 32 turns), 1 for those that turn less than once (beta_slow = 1), linear in between (YaRN, section 3.2).
std::vector<double> yarn_ramp(int head_dim, double theta, double context) {
  const auto pair_that_turns = [&](double turns) {
    return head_dim * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  const double low = std::max(std::floor(pair_that_turns(32)), 0.0);
  double high = std::min(std::ceil(pair_that_turns(1)), head_dim - 1.0);
  if (low == high) high += 0.001;
  std::vector<double> ramp(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < ramp.size(); ++i) {
    ramp[i] = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  }
  return ramp;
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

std::optional<RopeScaling> read_rope_scaling(const GgufFile& file) {
  const std::string_view name = file.get_or<std::string_view>("llama.rope.scaling.type", "none");
  if (name == "none") return std::nullopt;
  const auto kind = parse_kind(name);
  if (!kind) fail("{}: rope scaling '{}' is not supported; linear, dynamic and yarn are", file.path(), name);
  const double factor = file.get<double>("llama.rope.scaling.factor");
  if (!(std::isfinite(factor) && factor >= 1))
    fail("{}: rope scaling factor {} is impossible", file.path(), factor);
  const std::int64_t original = file.get_or<std::int64_t>("llama.rope.scaling.original_context_length", 0);
  if (original < 0) fail("{}: rope scaling's original context {} is impossible", file.path(), original);
  return RopeScaling{*kind, factor, original};
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

Rope make_rope(const LlamaConfig& config, const std::optional<RopeScaling>& scaling, std::int64_t tokens,
               const std::vector<float>& divisors) {
  using Kind = RopeScaling::Kind;
  const auto context = static_cast<double>(config.context_length);
  const auto length = static_cast<double>(tokens);
  if (!scaling && tokens > config.context_length) {
    fail(
        "{} tokens are more than the model's context of {}; take fewer (--tokens) or ask for --rope-scaling "
        "linear:F, dynamic:F or yarn:F",
        tokens, config.context_length);
  }
  // A scaling that came with the file is already part of its context length.
  const bool from_file = scaling && scaling->original_context > 0;
  const double limit = scaling && !from_file ? context * scaling->factor : context;
  if (scaling && scaling->kind != Kind::dynamic && length > limit) {
    fail(
        "{} tokens are more than the context of {:.0f} that rope scaling {}:{} gives; use a larger factor or "
        "fewer "
        "tokens (--tokens)",
        tokens, limit, kind_names[static_cast<std::size_t>(scaling->kind)], scaling->factor);
  }

  double theta = config.rope_theta;
  if (scaling && scaling->kind == Kind::dynamic) {
    const double seen = std::max(length, context), dim = config.head_dim;
    theta *= std::pow(scaling->factor * seen / context - (scaling->factor - 1), dim / (dim - 2));
  }
  Rope rope;
  std::vector<double> inv_freq(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = std::pow(theta, -2.0 * static_cast<double>(i) / config.head_dim);
    if (!divisors.empty()) inv_freq[i] /= static_cast<double>(divisors[i]);
  }
  nlohmann::json json{{"rope_type", "default"}, {"rope_theta", config.rope_theta}};
  if (!divisors.empty()) json["frequency_divisors"] = divisors;
  if (scaling) {
    json["rope_type"] = kind_names[static_cast<std::size_t>(scaling->kind)];
    json["factor"] = scaling->factor;
    if (scaling->kind == Kind::linear) {
      for (double& f : inv_freq) f /= scaling->factor;
    }
    if (scaling->kind == Kind::yarn) {
      const auto original = from_file ? scaling->original_context : config.context_length;
      const std::vector<double> ramp = yarn_ramp(config.head_dim, theta, static_cast<double>(original));
      for (std::size_t i = 0; i < inv_freq.size(); ++i)
        inv_freq[i] *= ramp[i] / scaling->factor + (1 - ramp[i]);
      if (scaling->factor > 1) rope.attention_factor = 0.1 * std::log(scaling->factor) + 1;
      json["original_max_position_embeddings"] = original;
      json["attention_factor"] = rope.attention_factor;
    }
  }
  rope.inv_freq.assign(inv_freq.begin(), inv_freq.end());
  rope.json = json.dump();
  return rope;
}

}  // namespace anchor
