#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "anchor/base/number.hpp"
#include "anchor/method/method.hpp"

using namespace anchor;

namespace {

/// What configs/methods/NAME.toml must hold: the registry is the only source of the defaults, the files show
/// them.
std::string expected_config(const Method& method) {
  std::string settings;
  for (const ParamSpec& spec : method.params) {
    const auto* number = std::get_if<double>(&spec.default_value);
    const std::string value = number ? format_number(*number) : std::get<std::string>(spec.default_value);
    settings += fmt::format("{}\"{}.{}={}\"", settings.empty() ? "" : ", ", method.name, spec.name, value);
  }
  std::string text = "# " + method.title + "\n";
  if (!method.arxiv.empty()) text += "# arXiv " + method.arxiv + "\n";
  for (const ParamSpec& spec : method.params) text += fmt::format("#   {}: {}\n", spec.name, spec.help);
  text += fmt::format("method = \"{}\"\n", method.name);
  if (!settings.empty()) text += fmt::format("set = [{}]\n", settings);
  return text;
}

}  // namespace

TEST_CASE("configs/methods shows every method with its source and its defaults") {
  for (const Method& method : methods()) {
    std::ifstream file(ANCHOR_SOURCE_DIR "/configs/methods/" + method.name + ".toml");
    std::stringstream text;
    text << file.rdbuf();
    CHECK_MESSAGE(text.str() == expected_config(method), method.name, ".toml should read:\n",
                  expected_config(method));
  }
}
