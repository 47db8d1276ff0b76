#include "anchor/replay/row_selection.hpp"

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"

namespace anchor {
namespace {
constexpr std::int64_t most_rows = std::int64_t{1} << 40;
}

RowSelection::RowSelection(const std::string& text) : text_(text) {
  if (text == "last") {
    last_ = 1;
    return;
  }
  if (text.starts_with("last:")) {
    const auto count = parse_integers(text.substr(5), "--rows last:N", 1, most_rows);
    if (count.size() != 1) fail_usage("--rows {}: write last, last:N or N-M", text);
    last_ = count[0];
    return;
  }
  const auto dash = text.find('-', 1);
  if (dash == std::string::npos) fail_usage("--rows {}: write last, last:N or N-M", text);
  const auto begin = parse_integers(text.substr(0, dash), "--rows", 0, most_rows),
             end = parse_integers(text.substr(dash + 1), "--rows", 0, most_rows);
  if (begin.size() != 1 || end.size() != 1) fail_usage("--rows {}: write last, last:N or N-M", text);
  if (begin[0] > end[0]) fail_usage("--rows {}: the first row lies after the last", text);
  range_ = {begin[0], end[0] + 1};
}

RowRange RowSelection::in(std::int64_t q_len) const {
  const RowRange rows = last_ > 0 ? RowRange{q_len - last_, q_len} : range_;
  if (rows.begin < 0 || rows.end > q_len)
    fail_usage("--rows {}: a layer has {} query rows, 0 to {}", text_, q_len, q_len - 1);
  return rows;
}

}  // namespace anchor
