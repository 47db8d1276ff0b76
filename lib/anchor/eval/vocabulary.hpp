#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "anchor/eval/task_random.hpp"

namespace anchor {

/// Which half of the words and which wording of the questions a task takes: thresholds that were fitted on
/// one half are tested on the other, which shares neither.
enum class TaskSplit { fit, test };

/// The words that tasks are made of. One half of each list belongs to each split.
class Vocabulary {
 public:
  /// The built-in lists, or nouns from `words` (at least 200 different ones; a usage error otherwise).
  explicit Vocabulary(TaskSplit split, const std::vector<std::string>& words = {});

  TaskSplit split() const { return split_; }
  const std::vector<std::string>& adjectives() const { return adjectives_; }
  const std::vector<std::string>& nouns() const { return nouns_; }

  /// "adjective-noun", every one different.
  std::vector<std::string> keys(TaskRandom& random, std::int64_t count) const;
  /// Different words: nouns first, in random order; beyond them, words of random syllables.
  std::vector<std::string> words(TaskRandom& random, std::int64_t count) const;
  /// Different words of random syllables, which no language has.
  std::vector<std::string> coined(TaskRandom& random, std::int64_t count) const;
  /// A plain sentence about nothing in particular, ending with a full stop.
  std::string sentence(TaskRandom& random) const;

 private:
  TaskSplit split_;
  std::vector<std::string> adjectives_, nouns_, verbs_, places_;
};

}  // namespace anchor
