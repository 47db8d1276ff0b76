#include "anchor/eval/haystack.hpp"

#include <algorithm>
#include <cmath>

namespace anchor {

std::vector<std::string> filler(const TaskRequest& request, TaskRandom& random, std::int64_t count) {
  const std::vector<std::string>& prose = request.prose;
  std::vector<std::string> sentences;
  auto at =
      prose.empty() ? 0 : static_cast<std::size_t>(random.below(static_cast<std::int64_t>(prose.size())));
  while (static_cast<std::int64_t>(sentences.size()) < count)
    sentences.push_back(prose.empty() ? request.vocabulary.sentence(random) : prose[at++ % prose.size()]);
  return sentences;
}

Haystack::Haystack(const TaskRequest& request, TaskRandom& random)
    : sentences_(filler(request, random, request.size)) {}

Haystack::Haystack(std::vector<std::string> sentences, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    sentences_.push_back(sentences[static_cast<std::size_t>(i) % sentences.size()]);
}

void Haystack::hide(double depth, std::string line, bool is_evidence) {
  const auto place = static_cast<std::size_t>(std::lround(depth * static_cast<double>(sentences_.size())));
  const auto after =
      std::find_if(hidden_.begin(), hidden_.end(), [&](const Hidden& h) { return h.place > place; });
  hidden_.insert(after, {place, std::move(line), is_evidence});
}

void Haystack::write(PromptText& prompt) const {
  auto next = hidden_.begin();
  for (std::size_t i = 0; i <= sentences_.size(); ++i) {
    for (; next != hidden_.end() && next->place == i; ++next) {
      prompt.add(next->line, next->is_evidence);
      prompt.add(" ");
    }
    if (i < sentences_.size()) prompt.add(sentences_[i] + (i + 1 < sentences_.size() ? " " : ""));
  }
  prompt.add("\n\n");
}

}  // namespace anchor
