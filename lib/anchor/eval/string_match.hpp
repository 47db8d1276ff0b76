#pragma once

#include <span>
#include <string>
#include <string_view>

namespace anchor {

/// RULER's rules for free text (Hsieh et al. 2024, arXiv 2404.06654): which of the references stand in the
/// prediction, in any case of ASCII letters. Control characters of the prediction count as line breaks. 0
/// without references.
struct StringMatch {
  double all = 0;   ///< share of the references that are found: string_match_all, of one prediction
  double part = 0;  ///< 1 if any is found: string_match_part
};
StringMatch string_match(std::string_view prediction, std::span<const std::string> references);

}  // namespace anchor
