#include "anchor/eval/question.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

/// How many first ids of the whole text are already certain from the first `bytes` of it.
std::int64_t common(const Tokenizer& tokenizer, std::string_view text, std::int64_t bytes,
                    const std::vector<int>& ids) {
  const std::vector<int> some = tokenizer.encode(text.substr(0, static_cast<std::size_t>(bytes))).ids;
  const auto differs = std::mismatch(some.begin(), some.end(), ids.begin(), ids.end());
  return differs.first - some.begin();
}

/// Where every token ends, in bytes, if the tokens' texts add up to the text; else empty.
std::vector<std::int64_t> ends_of(const std::vector<std::string>& texts, std::string_view text,
                                  const std::vector<int>& ids) {
  std::vector<std::int64_t> ends;
  std::size_t at = 0;
  for (const int id : ids) {
    const std::string& piece = texts[static_cast<std::size_t>(id)];
    const bool fits = text.substr(at, piece.size()) == piece;
    if (!fits && at > 0) return {};
    if (fits) at += piece.size();  // a begin-of-text token stands for no bytes
    ends.push_back(static_cast<std::int64_t>(at));
  }
  return at == text.size() ? ends : std::vector<std::int64_t>{};
}

}  // namespace

Question make_question(const Tokenizer& tokenizer, const Task& task) {
  Question question;
  const std::string text = task.prompt + task.answer;
  question.ids = tokenizer.encode(text).ids;
  const std::vector<std::int64_t> ends = ends_of(tokenizer.token_texts(), text, question.ids);
  // The first token that ends after `byte`.
  const auto token_at = [&](std::int64_t byte) {
    return ends.empty() ? common(tokenizer, text, byte, question.ids)
                        : std::upper_bound(ends.begin(), ends.end(), byte) - ends.begin();
  };
  const auto positions = [&](const std::vector<Task::Span>& spans) {
    std::vector<std::int64_t> list;
    for (const auto& [begin, end] : spans) {
      const std::int64_t first = token_at(begin), last = token_at(end - 1);
      for (std::int64_t token = first; token <= last; ++token)
        if (list.empty() || token > list.back()) list.push_back(token);
    }
    return list;
  };
  question.prompt = token_at(static_cast<std::int64_t>(task.prompt.size()));
  const auto count = static_cast<std::int64_t>(question.ids.size());
  if (question.prompt < 1 || question.prompt >= count)
    fail("{}: no border between the tokens of its prompt and its answer", task.id);
  for (std::int64_t token = question.prompt; token < count; ++token) question.answer.push_back(token);
  question.evidence = positions(task.evidence);
  question.inner = positions(task.inner);
  return question;
}

}  // namespace anchor
