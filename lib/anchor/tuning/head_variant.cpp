#include "anchor/tuning/head_variant.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"

namespace anchor {
namespace {

/// Each of the given variants with each of the values of one choice.
std::vector<HeadVariant> with_values(const std::vector<HeadVariant>& given, const ParamChoice& choice,
                                     const MethodRun& run) {
  const auto& own = run.method->head_params;
  if (std::find(own.begin(), own.end(), choice.name) == own.end())
    fail_usage("{} cannot be chosen: {} has no such parameter of single heads", choice.name,
               run.method->name);
  if (given[0].choice.contains(choice.name)) fail_usage("{} is chosen twice", choice.name);
  std::vector<HeadVariant> variants;
  for (const ParamChoice::Value& value : choice.values) {
    for (HeadVariant variant : given) {
      variant.cost += value.cost;
      set_param(*run.method, variant.params, choice.name, value.text);
      variant.choice[choice.name] = variant.params.values().at(choice.name);
      variants.push_back(std::move(variant));
    }
  }
  return variants;
}

}  // namespace

ParamChoice parse_param_choice(const std::string& text, const std::string& flag) {
  const auto equals = text.find('=');
  if (equals == std::string::npos) fail_usage("{} {}: write NAME=A,B or NAME=A,B@COST", flag, text);
  ParamChoice choice{text.substr(0, equals), {}};
  for (const std::string& item : split_list(text.substr(equals + 1), flag)) {
    const auto at = item.find('@');
    const auto cost = at == std::string::npos ? std::optional(0.) : parse_number(item.substr(at + 1));
    if (!cost || *cost < 0) fail_usage("{} {}: the cost after @ is a density, such as 0.05", flag, item);
    choice.values.push_back({item.substr(0, at), *cost});
  }
  return choice;
}

std::vector<HeadVariant> head_variants(const MethodRun& run, std::span<const ParamChoice> choices) {
  std::vector<HeadVariant> variants{{run.params, {}, 0}};
  for (const ParamChoice& choice : choices) variants = with_values(variants, choice, run);
  return variants;
}

}  // namespace anchor
