#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace anchor {

/// How many tokens of a question's evidence every head's plan keeps for the prompt's last row. In rows: field
/// `evidence_by_head`, a text.
struct HeadEvidence {
  int tokens = 0;                      ///< of the evidence; 0: nothing is known
  std::vector<std::vector<int>> kept;  ///< [layer][head]; no heads: the layer had no plan and kept all

  /// "TOKENS:HEAD,HEAD,...;HEAD,...": the numbers of each layer's heads, layers apart by semicolons; a head
  /// that keeps all is empty, so that most rows hold few digits.
  std::string text() const;
  /// The same read back. A data error starts with `where` and says what is wrong.
  static HeadEvidence parse(std::string_view text, std::string_view where);
};

}  // namespace anchor
