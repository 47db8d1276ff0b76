#include "sweep/head_variant.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"

namespace anchor::sweep {

namespace {

/// Each of the given variants with each of the values of one --choose.
std::vector<HeadVariant> with_values(const std::vector<HeadVariant>& given, const std::string& choose,
                                     const MethodRun& run) {
  const auto equals = choose.find('=');
  const std::string name = choose.substr(0, equals);
  if (equals == std::string::npos) fail_usage("--choose {}: write NAME=A,B or NAME=A,B@COST", choose);
  const auto& own = run.method->head_params;
  if (std::find(own.begin(), own.end(), name) == own.end())
    fail_usage("--choose {}: {} has no such parameter of single heads", name, run.method->name);
  std::vector<HeadVariant> variants;
  if (given[0].choice.contains(name)) fail_usage("--choose {}: {} is chosen twice", choose, name);
  for (const std::string& item : split_list(choose.substr(equals + 1), "--choose")) {
    const auto at = item.find('@');
    const auto cost = at == std::string::npos ? std::optional(0.) : parse_number(item.substr(at + 1));
    if (!cost || *cost < 0) fail_usage("--choose {}: the cost after @ is a density, such as 0.05", item);
    for (HeadVariant variant : given) {
      variant.cost += *cost;
      set_param(*run.method, variant.params, name, item.substr(0, at));
      variant.choice[name] = variant.params.values().at(name);
      variants.push_back(std::move(variant));
    }
  }
  return variants;
}

}  // namespace

std::vector<HeadVariant> head_variants(const std::vector<std::string>& choose, const MethodRun& run) {
  std::vector<HeadVariant> variants{{run.params, {}, 0}};
  for (const std::string& one : choose) variants = with_values(variants, one, run);
  return variants;
}

}  // namespace anchor::sweep
