#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/tail.hpp"

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
Method a2ats_method();
Method topk_method();
Method difference_method();
Method cdf_method();
Method block_oracle_method();
Method stripe_oracle_method();

namespace {

/// The methods, whose plans all leave out what a layer's sliding window hides.
std::vector<Method> within_windows(std::vector<Method> table) {
  for (Method& method : table) {
    method.plan_cpu = [plan = std::move(method.plan_cpu)](const AttentionInputs& inputs,
                                                          const PlanRequest& request) {
      return within_window(plan(inputs, request));
    };
  }
  return table;
}

}  // namespace

std::span<const Method> methods() {
  // AnchorAttention has a tail of its own; methods that look at no scores, or at every row's, need none.
  static const std::vector<Method> table = within_windows({
      dense_method(),
      streaming_method(),
      a_shape_method(),
      tri_shape_method(),
      anchor_method(),
      with_tail(stripes_method()),
      with_tail(vertical_slash_method()),
      with_tail(vertical_slash_blocks_method()),
      with_tail(block_sparse_method()),
      with_tail(flexprefill_method()),
      with_tail(shareprefill_method()),
      with_tail(xattention_method()),
      with_tail(spargeattn_method()),
      with_tail(sale_method()),
      with_tail(flashprefill_method()),
      a2ats_method(),
      topk_method(),
      difference_method(),
      cdf_method(),
      with_tail(block_oracle_method()),
      with_tail(stripe_oracle_method()),
  });
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

/// A value as a command line writes it; empty if it should be a number and is none.
std::optional<Scalar> parse_value(const ParamSpec& spec, std::string_view text) {
  const bool word = spec.kind == ParamSpec::Kind::text || spec.kind == ParamSpec::Kind::choice;
  if (word || std::ranges::find(spec.choices, text) != spec.choices.end()) return std::string(text);
  const auto number = parse_number(text);
  return number ? std::optional<Scalar>(*number) : std::nullopt;
}

}  // namespace

const ParamSpec& find_param(const Method& method, std::string_view name) {
  std::vector<std::string> known;
  for (const ParamSpec& spec : method.params) {
    if (spec.name == name) return spec;
    known.push_back(spec.name);
  }
  if (known.empty()) fail_usage("method {} has no parameters (got {})", method.name, name);
  fail_usage("method {} has no parameter {}; {}", method.name, name, hint(name, known));
}

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

std::string check_value(const ParamSpec& spec, const Scalar& value) {
  if (const auto* word = std::get_if<std::string>(&value)) {
    if (spec.kind == ParamSpec::Kind::text) return {};
    if (std::ranges::find(spec.choices, *word) != spec.choices.end()) return {};
    return spec.kind == ParamSpec::Kind::choice ? hint(*word, spec.choices) : "not a number";
  }
  if (spec.kind == ParamSpec::Kind::text || spec.kind == ParamSpec::Kind::choice)
    return "a number, not a word";
  const double number = std::get<double>(value);
  if (std::isnan(number)) return "not a number";
  if (number < spec.minimum || number > spec.maximum)
    return fmt::format("must lie in [{}, {}]", spec.minimum, spec.maximum);
  if (spec.kind == ParamSpec::Kind::integer && number != std::floor(number)) return "not a whole number";
  return {};
}

void set_param(const Method& method, Params& params, std::string_view name, std::string_view text) {
  const ParamSpec& spec = find_param(method, name);
  const std::optional<Scalar> value = parse_value(spec, text);
  const std::string wrong = value ? check_value(spec, *value) : "not a number";
  if (!wrong.empty()) fail_usage("{}.{} = {}: {}", method.name, name, text, wrong);
  params.set(spec.name, *value);
}

}  // namespace anchor
