#include "anchor/report/oracle_note.hpp"

#include <algorithm>

namespace anchor {

std::string oracle_note(std::string_view method) {
  if (method == "topk")
    return "topk: every row's largest exact scores, nothing forced; no plan with as many keys in each row "
           "keeps more. No "
           "bound where rows may differ in keys.";
  if (method == "difference")
    return "difference: exact scores near each row's largest, nothing forced; the best keys for the number "
           "each row takes, "
           "not the best numbers.";
  if (method == "cdf")
    return "cdf: the fewest keys for a share of each row's mass, nothing forced; a bound of every row alone, "
           "not of means "
           "over rows.";
  if (method == "block-oracle")
    return "block-oracle: each tile keeps its own block (unless force_diagonal=0) or its heaviest, then by "
           "exact mass to "
           "the same share of every tile; a bound of each tile, not of means over tiles.";
  if (method == "stripe-oracle")
    return "stripe-oracle: first block and local window are forced, then a head's stripes by exact mass; a "
           "bound for plans "
           "with the same groups and forced keys, not for others.";
  return {};
}

std::vector<std::string> oracle_notes(const std::vector<std::string>& methods) {
  std::vector<std::string> notes;
  for (const std::string& method : methods) {
    const std::string note = oracle_note(method);
    if (!note.empty() && std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
  }
  return notes;
}

}  // namespace anchor
