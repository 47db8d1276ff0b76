#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace anchor {

/// Text with every ill-formed byte sequence replaced by U+FFFD, one per maximal subpart as Unicode recommends
/// (section 3.9) and Python's bytes.decode(errors="replace") does.
struct CleanText {
  std::string text;
  std::int64_t replaced = 0;  ///< number of U+FFFD put in
};
CleanText replace_invalid_utf8(std::string_view bytes);

}  // namespace anchor
