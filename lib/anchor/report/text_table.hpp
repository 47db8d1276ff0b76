#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace anchor {

/// A table of texts. The first column is a name and stands left, the others stand right.
struct TextTable {
  std::vector<std::string> headings;
  std::vector<std::vector<std::string>> rows;

  /// Columns two spaces apart, at most `width` characters a line: columns that do not fit follow in further
  /// blocks, under the first column again. A first column that alone takes more than half of the width is
  /// cut.
  std::string plain(std::size_t width = 80) const;
  std::string markdown() const;
};

/// Characters of a text, not bytes.
std::size_t characters(const std::string& text);

}  // namespace anchor
