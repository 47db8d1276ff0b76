#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/method/method.hpp"

namespace anchor {

Method dense_method();
Method streaming_method();
Method a_shape_method();
Method tri_shape_method();
Method anchor_method();
Method stripes_method();
Method vertical_slash_method();
Method vertical_slash_blocks_method();
Method block_sparse_method();
Method flexprefill_method();
Method shareprefill_method();
Method xattention_method();
Method spargeattn_method();
Method sale_method();
Method flashprefill_method();
Method topk_method();
Method difference_method();
Method cdf_method();
Method block_oracle_method();
Method stripe_oracle_method();

std::span<const Method> methods() {
  static const std::vector<Method> table{
      dense_method(),        streaming_method(),   a_shape_method(),        tri_shape_method(),
      anchor_method(),       stripes_method(),     vertical_slash_method(), vertical_slash_blocks_method(),
      block_sparse_method(), flexprefill_method(), shareprefill_method(),   xattention_method(),
      spargeattn_method(),   sale_method(),        flashprefill_method(),   topk_method(),
      difference_method(),   cdf_method(),         block_oracle_method(),   stripe_oracle_method(),
  };
  return table;
}

std::string nearest(std::string_view word, std::span<const std::string> known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 2);
  for (const std::string& candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1);  // Levenshtein distances to prefixes of the candidate
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = row[0]++;
      for (std::size_t j = 0; j < candidate.size(); ++j) {
        const std::size_t substitution = diagonal + (word[i] != candidate[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({substitution, row[j] + 1, row[j + 1] + 1});
      }
    }
    const bool prefix = !word.empty() && candidate.starts_with(word);
    const std::size_t distance = prefix ? 0 : row.back();
    if (distance < best_distance || (distance == best_distance && best.empty()))
      best = candidate, best_distance = distance;
  }
  return best;
}

namespace {

std::string hint(std::string_view word, const std::vector<std::string>& known) {
  const std::string close = nearest(word, known);
  return close.empty() ? fmt::format("known: {}", fmt::join(known, ", "))
                       : fmt::format("did you mean {}?", close);
}

const ParamSpec& find_spec(const Method& method, std::string_view name) {
  std::vector<std::string> known;
  for (const ParamSpec& spec : method.params) {
    if (spec.name == name) return spec;
    known.push_back(spec.name);
  }
  if (known.empty()) fail_usage("method {} has no parameters (got {})", method.name, name);
  fail_usage("method {} has no parameter {}; {}", method.name, name, hint(name, known));
}

}  // namespace

const Method& find_method(std::string_view name) {
  std::vector<std::string> known;
  for (const Method& method : methods()) {
    if (method.name == name) return method;
    known.push_back(method.name);
  }
  fail_usage("unknown method {}; {}", name, hint(name, known));
}

Params default_params(const Method& method) {
  Params params;
  for (const ParamSpec& spec : method.params) params.set(spec.name, spec.default_value);
  return params;
}

void set_param(const Method& method, Params& params, std::string_view name, std::string_view text) {
  const ParamSpec& spec = find_spec(method, name);
  if (spec.kind == ParamSpec::Kind::text) {
    params.set(spec.name, std::string(text));
    return;
  }
  if (spec.kind == ParamSpec::Kind::choice) {
    if (std::find(spec.choices.begin(), spec.choices.end(), text) == spec.choices.end()) {
      fail_usage("{}.{} = {}: {}", method.name, name, text, hint(text, spec.choices));
    }
    params.set(spec.name, std::string(text));
    return;
  }
  if (std::find(spec.choices.begin(), spec.choices.end(), text) != spec.choices.end()) {
    params.set(spec.name, std::string(text));
    return;
  }
  const auto value = parse_number(text);
  if (!value) fail_usage("{}.{} = {}: not a number", method.name, name, text);
  if (spec.kind == ParamSpec::Kind::integer && *value != std::floor(*value)) {
    fail_usage("{}.{} = {}: not a whole number", method.name, name, text);
  }
  if (*value < spec.minimum || *value > spec.maximum) {
    fail_usage("{}.{} = {}: must lie in [{}, {}]", method.name, name, text, spec.minimum, spec.maximum);
  }
  params.set(spec.name, *value);
}

}  // namespace anchor
