#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace anchor {

/// A table of texts. The first column is a name and stands left, the others stand right.
struct TextTable {
  std::vector<std::string> headings;
  std::vector<std::vector<std::string>> rows;

  /// Columns two spaces apart, at most `width` characters a line. Where they do not fit, they stand one space
  /// apart and names are cut, down to a fifth of the width; where that is not enough, the last columns follow
  /// in further blocks, under the first column again.
  std::string plain(std::size_t width = 80) const;
  std::string markdown() const;
};

/// Characters of a text, not bytes.
std::size_t characters(const std::string& text);

}  // namespace anchor
