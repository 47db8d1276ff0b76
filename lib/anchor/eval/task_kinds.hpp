#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/eval/task.hpp"
#include "anchor/eval/vocabulary.hpp"

namespace anchor {

/// What one task is made from.
struct TaskRequest {
  const Vocabulary& vocabulary;
  /// Sentences to hide things among, in reading order; empty = sentences of the vocabulary.
  const std::vector<std::string>& prose;
  std::uint64_t seed = 0;  ///< equal seeds: the same question, whatever the size
  std::int64_t size = 1;   ///< filler units (sentences, lines, words): the prompt grows with it; at least 1
  double depth = 0;        ///< where the evidence should lie, 0 to 1

  bool is_test() const { return vocabulary.split() == TaskSplit::test; }
};

/// A family of tasks. The recipes follow RULER's (Hsieh et al. 2024, arXiv 2404.06654) where they have one
/// there; the words and sentences are ours, and answers of several parts have an order that the question
/// names, so that one teacher-forced pass can score them.
struct TaskKind {
  std::string_view name;
  std::string_view ruler;    ///< the task of RULER that it follows; empty = none
  std::string_view summary;  ///< one line
  bool has_depth;            ///< TaskRequest::depth matters
  /// Fills prompt, answer, evidence, inner and depth.
  void (*make)(const TaskRequest& request, Task& task);
};

/// All kinds, in the order of tables.
std::span<const TaskKind> task_kinds();

/// The kind of that name; a usage error lists those that exist.
const TaskKind& task_kind(std::string_view name);

// needles.cpp: facts hidden among sentences.
void make_needle(const TaskRequest&, Task&);
void make_needle_keys(const TaskRequest&, Task&);
void make_needle_values(const TaskRequest&, Task&);
void make_needle_queries(const TaskRequest&, Task&);
void make_needle_middle(const TaskRequest&, Task&);
void make_passkey(const TaskRequest&, Task&);
// lookups.cpp: one line among lines like it.
void make_key_value(const TaskRequest&, Task&);
void make_nth_item(const TaskRequest&, Task&);
void make_coreference(const TaskRequest&, Task&);
// chains.cpp: several facts that lead from one to the next.
void make_variables(const TaskRequest&, Task&);
void make_graph_walk(const TaskRequest&, Task&);
// counts.cpp: what the whole text says together.
void make_common_words(const TaskRequest&, Task&);
void make_frequent_words(const TaskRequest&, Task&);
// copies.cpp: text to go on with.
void make_repeat(const TaskRequest&, Task&);
void make_plain(const TaskRequest&, Task&);

}  // namespace anchor
