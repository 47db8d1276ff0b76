#pragma once

#include <string>
#include <vector>

#include "anchor/eval/prompt_text.hpp"
#include "anchor/eval/task_kinds.hpp"

namespace anchor {

/// So many sentences: the prose from a random place on, over and over, or sentences of the vocabulary.
std::vector<std::string> filler(const TaskRequest& request, TaskRandom& random, std::int64_t count);

/// Sentences with a few lines hidden between them.
class Haystack {
 public:
  /// `request.size` sentences of filler().
  Haystack(const TaskRequest& request, TaskRandom& random);
  /// The same sentences, over and over.
  Haystack(std::vector<std::string> sentences, std::int64_t count);

  /// Hides a line at a depth from 0 to 1; lines of equal depth keep their order.
  void hide(double depth, std::string line, bool is_evidence);
  /// Writes all of it as one paragraph.
  void write(PromptText& prompt) const;

 private:
  struct Hidden {
    std::size_t place;  ///< before the sentence of that number
    std::string line;
    bool is_evidence;
  };
  std::vector<std::string> sentences_;
  std::vector<Hidden> hidden_;
};

}  // namespace anchor
