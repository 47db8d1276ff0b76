#include "anchor/data/pattern.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

namespace anchor {
namespace {

// Shaped after 270 heads of a real model: a third each of local, sink and stripe heads, one in twenty
// diffuse; every head has some sink, some locality and far columns whose importance is log-normal (the top 1
// % of them hold half).
constexpr std::string_view mixed =
    "local:128:50%+sink:1:70%+spread:2*31,sink:1:90%+local:128:20%+spread:2.2*31,"
    "local:128:12%+sink:1:50%+spread:2.4*33,local:128:10%+sink:1:50%+spread:1.2*5";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

double number(std::string_view text, std::string_view atom, double minimum) {
  const auto value = parse_number(text);
  if (!value || !std::isfinite(*value) || *value < minimum) {
    fail_usage("--pattern: {:?} in {:?} must be a number of at least {}", text, atom, minimum);
  }
  return *value;
}

std::int64_t whole(std::string_view text, std::string_view atom, std::int64_t minimum) {
  const double value = number(text, atom, static_cast<double>(minimum));
  if (value != std::floor(value) || value > 1e9)
    fail_usage("--pattern: {:?} in {:?} must be a whole number", text, atom);
  return static_cast<std::int64_t>(value);
}

Weight weight(const std::vector<std::string_view>& fields, std::string_view atom) {
  if (fields.size() < 3) return {};
  std::string_view text = fields[2];
  if (!text.ends_with('%')) return {number(text, atom, 0), 0.9};
  text.remove_suffix(1);
  const double share = number(text, atom, 0) / 100;
  if (share <= 0 || share >= 1) fail_usage("--pattern: the share in {:?} must lie between 0% and 100%", atom);
  return {0, share};
}

PlantedHead::Planted planted(const std::vector<std::string_view>& fields, std::string_view atom,
                             std::int64_t count, std::int64_t minimum) {
  PlantedHead::Planted result{count, {}, weight(fields, atom)};
  if (fields.size() > 1 && fields[1].starts_with('@')) {
    for (const auto item : split(fields[1].substr(1), '/')) result.at.push_back(whole(item, atom, minimum));
    std::sort(result.at.begin(), result.at.end());
    result.at.erase(std::unique(result.at.begin(), result.at.end()), result.at.end());
    result.count = static_cast<std::int64_t>(result.at.size());
  } else if (fields.size() > 1) {
    result.count = whole(fields[1], atom, 1);
  }
  return result;
}

void add_atom(PlantedHead& head, std::string_view atom) {
  const auto fields = split(atom, ':');
  const std::string_view name = fields[0];
  const std::size_t most = name == "diffuse" ? 1 : name == "spread" ? 2 : 3;
  if (fields.size() > most) fail_usage("--pattern: {:?} has too many fields", atom);
  if (name == "sink") {
    head.sink = {fields.size() > 1 ? whole(fields[1], atom, 1) : 4, weight(fields, atom)};
  } else if (name == "local") {
    head.local = {fields.size() > 1 ? whole(fields[1], atom, 2) : 128, weight(fields, atom)};
  } else if (name == "stripes") {
    head.stripes = planted(fields, atom, 64, 0);
  } else if (name == "slash") {
    head.slash = planted(fields, atom, 1, 1);
  } else if (name == "spread") {
    head.spread = fields.size() > 1 ? number(fields[1], atom, 0) : 2.2;
  } else if (name != "diffuse") {
    fail_usage("--pattern: {:?} is none of sink, local, stripes, slash, spread, diffuse; or mixed alone",
               name);
  }
}

}  // namespace

const char* const pattern_help =
    R"(--pattern HEAD,HEAD,...   the heads follow them in turn
          HEAD = ATOM+ATOM+...[*TIMES], ATOM one of

  sink[:TOKENS[:STRENGTH]]      the first TOKENS keys (4)
  local[:WIDTH[:STRENGTH]]      the last WIDTH keys (128), the nearest ones most
  stripes[:COLUMNS[:STRENGTH]]  random columns (64 of them), or listed ones: stripes:@5/77/1k
  slash[:OFFSETS[:STRENGTH]]    keys at random distances (1), or listed ones: slash:@512
  spread[:SIGMA]                every column has a log-normal importance (2.2)
  diffuse                       nothing but noise

STRENGTH is a score above the background in natural-log units (8), or the share of the
mass that the planted keys hold against the background (50%); left out: 90%.

  mixed    heads like those of a real model: 31 % local, 31 % sink, 33 % stripe, 5 % diffuse

Examples: stripes:64:8    sink+local,stripes*2,diffuse    local:256:70%+sink:1:50%
)";

PatternMix parse_pattern(std::string_view text) {
  PatternMix mix;
  for (std::string_view part : split(text == "mixed" ? mixed : text, ',')) {
    double weight = 1;
    PlantedHead head;
    if (const auto star = part.find('*'); star != std::string_view::npos) {
      weight = number(part.substr(star + 1), part, 0);
      part = part.substr(0, star);
    }
    head.text = part;
    for (const auto atom : split(part, '+')) add_atom(head, atom);
    mix.patterns.push_back(std::move(head));
    mix.weights.push_back(weight);
  }
  if (std::all_of(mix.weights.begin(), mix.weights.end(), [](double w) { return w == 0; })) {
    fail_usage("--pattern: {:?} gives every head the weight 0", text);
  }
  // Keys are shared by heads of different patterns, so what the keys carry must be one thing.
  for (const auto& head : mix.patterns) {
    for (const auto& other : mix.patterns) {
      const auto differ = [](std::int64_t a, std::int64_t b) { return a != 0 && b != 0 && a != b; };
      if (differ(head.sink.tokens, other.sink.tokens) || differ(head.local.width, other.local.width) ||
          differ(head.stripes.count, other.stripes.count) ||
          (head.stripes.count && other.stripes.count && head.stripes.at != other.stripes.at)) {
        fail_usage(
            "--pattern: {:?} and {:?} share keys, so sinks, local widths and columns must agree; strengths "
            "may differ",
            head.text, other.text);
      }
    }
  }
  return mix;
}

const PlantedHead& PatternMix::of(std::int64_t index) const {
  double total = 0;
  for (const double weight : weights) total += weight;
  std::vector<double> given(weights.size(), 0);
  std::size_t chosen = 0;
  for (std::int64_t i = 0; i <= index; ++i) {
    chosen = 0;
    double most = -1e300;
    for (std::size_t p = 0; p < weights.size(); ++p) {
      const double behind = weights[p] / total * static_cast<double>(i + 1) - given[p];
      if (behind > most + 1e-9) {
        most = behind;
        chosen = p;
      }
    }
    given[chosen] += 1;
  }
  return patterns[chosen];
}

}  // namespace anchor
