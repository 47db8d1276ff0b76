#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "anchor/eval/task.hpp"

namespace anchor {

/// A prompt that grows piece by piece and knows which bytes are evidence and which are answers in the middle.
class PromptText {
 public:
  void add(std::string_view text) { text_ += text; }
  void add_evidence(std::string_view text) { mark(text, evidence_); }
  void add(std::string_view text, bool is_evidence) { is_evidence ? add_evidence(text) : add(text); }
  void add_inner_answer(std::string_view text) { mark(text, inner_); }

  /// Puts prompt, evidence, inner answers and depth into the task.
  void move_into(Task& task) {
    if (!evidence_.empty())
      task.depth = static_cast<double>(evidence_.front().first) / static_cast<double>(text_.size());
    task.prompt = std::move(text_);
    task.evidence = std::move(evidence_);
    task.inner = std::move(inner_);
  }

 private:
  void mark(std::string_view text, std::vector<Task::Span>& spans) {
    const auto begin = static_cast<std::int64_t>(text_.size());
    text_ += text;
    spans.emplace_back(begin, static_cast<std::int64_t>(text_.size()));
  }

  std::string text_;
  std::vector<Task::Span> evidence_, inner_;
};

}  // namespace anchor
