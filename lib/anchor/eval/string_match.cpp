#include "anchor/eval/string_match.hpp"

#include <algorithm>

namespace anchor {
namespace {

std::string lowered(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c >= 0 && c < ' ') c = '\n';
  }
  return made;
}

}  // namespace

StringMatch string_match(std::string_view prediction, std::span<const std::string> references) {
  if (references.empty()) return {};
  const std::string text = lowered(prediction);
  const auto found = std::count_if(references.begin(), references.end(), [&](const std::string& one) {
    return text.find(lowered(one)) != std::string::npos;
  });
  return {static_cast<double>(found) / static_cast<double>(references.size()), found > 0 ? 1. : 0.};
}

}  // namespace anchor
