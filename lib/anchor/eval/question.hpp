#pragma once

#include <cstdint>
#include <vector>

#include "anchor/eval/task.hpp"
#include "anchor/model/tokenizer.hpp"

namespace anchor {

/// A task as a model reads it: prompt and answer as one text, and where in it the answers stand.
struct Question {
  std::vector<int> ids;
  std::int64_t prompt = 0;  ///< tokens before the answer; the first that may differ counts to the answer
  std::vector<std::int64_t> answer;    ///< positions of the answer's tokens
  std::vector<std::int64_t> inner;     ///< positions of answers in the middle of the prompt
  std::vector<std::int64_t> evidence;  ///< positions that hold evidence
};

/// Tokens that a span of bytes overlaps are counted to it. A data error if prompt and answer have no border
/// between tokens after the first token.
Question make_question(const Tokenizer& tokenizer, const Task& task);

}  // namespace anchor
