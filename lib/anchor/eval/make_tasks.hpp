#pragma once

#include <functional>
#include <string>
#include <vector>

#include "anchor/eval/task.hpp"
#include "anchor/eval/task_kinds.hpp"

namespace anchor {

/// Tokens of a text, as the model that will be asked counts them.
using CountTokens = std::function<std::int64_t(std::string_view text)>;

/// What a file of tasks is made from.
struct TaskSet {
  std::vector<std::string> kinds;     ///< names of task_kinds()
  std::vector<std::int64_t> lengths;  ///< tokens
  int count = 100;                    ///< tasks per kind and length
  std::uint64_t seed = 1;
  TaskSplit split = TaskSplit::test;
  std::vector<std::string> prose;  ///< sentences to hide things among; empty = made ones
  std::vector<std::string> words;  ///< nouns; empty = built-in ones
};

/// The depth of task `index` of `count`: spread evenly over 0 to 1.
double depth_of(int index, int count);

/// One task: the largest whose prompt and answer have at most `length` tokens. A usage error names a length
/// in which no task of the kind fits.
Task make_task(const TaskKind& kind, const TaskRequest& request, std::int64_t length,
               const CountTokens& tokens);

/// All tasks of the set, in the order kinds, lengths, number; `use` gets each as it is made.
void make_tasks(const TaskSet& set, const CountTokens& tokens, const std::function<void(const Task&)>& use);

/// The sentences of a text: cut after full stops, question and exclamation marks that a space or a line's end
/// follows; white space within becomes one space.
std::vector<std::string> sentences_of(std::string_view text);

}  // namespace anchor
