#include "anchor/eval/head_evidence.hpp"

#include <charconv>
#include <optional>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

std::optional<int> whole(std::string_view text, int most) {
  int value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size() || value < 0 || value > most) return {};
  return value;
}

/// The text up to the separator, which is taken off with it.
std::string_view next(std::string_view& rest, char separator, bool& more) {
  const auto end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  more = end != std::string_view::npos;
  rest.remove_prefix(more ? end + 1 : rest.size());
  return part;
}

}  // namespace

std::string HeadEvidence::text() const {
  std::string text = fmt::format("{}:", tokens);
  for (std::size_t layer = 0; layer < kept.size(); ++layer) {
    if (layer > 0) text += ";";
    if (kept[layer].empty()) text += "-";
    for (std::size_t head = 0; head < kept[layer].size(); ++head) {
      if (head > 0) text += ",";
      if (kept[layer][head] < tokens) text += std::to_string(kept[layer][head]);
    }
  }
  return text;
}

HeadEvidence HeadEvidence::parse(std::string_view text, std::string_view where) {
  HeadEvidence evidence;
  bool more = false;
  const auto tokens = whole(next(text, ':', more), 1'000'000);
  if (!tokens || *tokens == 0 || !more)
    fail("{}: field \"evidence_by_head\" does not begin with the number of tokens and a colon", where);
  evidence.tokens = *tokens;
  for (bool layers = true; layers;) {
    std::string_view layer = next(text, ';', layers);
    std::vector<int>& heads = evidence.kept.emplace_back();
    if (layer == "-") continue;
    for (bool some = true; some;) {
      const std::string_view head = next(layer, ',', some);
      const auto kept = head.empty() ? std::optional(evidence.tokens) : whole(head, evidence.tokens);
      if (!kept)
        fail("{}: field \"evidence_by_head\" holds \"{}\", which is no number of at most {} tokens", where,
             head, evidence.tokens);
      heads.push_back(*kept);
    }
  }
  return evidence;
}

}  // namespace anchor
