#pragma once

#include <map>

#include "support/params.hpp"

namespace anchor::test {

/// Parameters with which a method chooses among the keys of some hundred tokens, where its defaults would
/// keep all. A method that is not listed has its defaults.
inline Params small_params(const Method& method) {
  static const std::map<std::string, Settings> settings{
      {"streaming", {{"sink", "20"}, {"local", "90"}}},
      {"a-shape", {{"sink", "8"}, {"local", "60"}}},
      {"tri-shape", {{"sink", "8"}, {"local", "40"}, {"last", "30"}}},
      {"anchor", {{"theta", "1.5"}, {"block", "32"}, {"step", "2"}}},
      {"stripes", {{"theta", "4"}, {"block", "32"}, {"window", "16"}}},
      {"vertical-slash", {{"vertical", "40"}, {"slash", "120"}}},
      {"vertical-slash-blocks", {{"vertical", "64"}, {"slash", "64"}, {"block", "32"}}},
      {"block-sparse", {{"topk", "3"}, {"block", "32"}}},
      {"flexprefill", {{"gamma", "0.7"}, {"min_budget", "32"}, {"block", "32"}}},
      {"shareprefill", {{"gamma", "0.5"}, {"min_budget", "0"}}},
      {"xattention", {{"tau", "0.6"}, {"block", "32"}, {"stride", "8"}}},
      {"spargeattn", {{"cdf", "0.6"}, {"sim", "-1"}}},
      {"sale", {{"theta_h", "0.05"}, {"window", "32"}}},
      {"flashprefill", {{"alpha", "0.9"}, {"block", "32"}, {"sink", "32"}, {"window", "32"}}},
      {"topk", {{"k", "24"}}},
      {"difference", {{"theta", "2"}}},
      {"cdf", {{"mass", "0.7"}}},
      {"block-oracle", {{"mass", "0.7"}, {"block", "32"}}},
      {"stripe-oracle", {{"mass", "0.8"}, {"block", "32"}, {"step", "2"}}},
  };
  const auto found = settings.find(method.name);
  return params_of(method, found == settings.end() ? Settings{} : found->second);
}

}  // namespace anchor::test
