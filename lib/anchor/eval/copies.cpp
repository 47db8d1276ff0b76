// Text to go on with.
#include <algorithm>

#include "anchor/eval/haystack.hpp"

namespace anchor {
namespace {

std::vector<std::string> sentences(const TaskRequest& request, std::int64_t count) {
  TaskRandom random(request.seed);
  return filler(request, random, count);
}

}  // namespace

// A passage twice; the answer is the last sentence of its second copy.
void make_repeat(const TaskRequest& request, Task& task) {
  const std::vector<std::string> passage = sentences(request, std::max<std::int64_t>(request.size / 2, 2));
  PromptText prompt;
  for (std::size_t i = 0; i + 1 < passage.size(); ++i) prompt.add(passage[i] + " ");
  prompt.add_evidence(passage.back());
  prompt.add("\n\n");
  for (std::size_t i = 0; i + 1 < passage.size(); ++i) prompt.add((i == 0 ? "" : " ") + passage[i]);
  prompt.move_into(task);
  task.depth.reset();
  task.answer = " " + passage.back();
}

// The answer is the text's last sentence: its tokens are compared with dense attention's, not scored.
void make_plain(const TaskRequest& request, Task& task) {
  const std::vector<std::string> text = sentences(request, request.size + 1);
  PromptText prompt;
  for (std::size_t i = 0; i + 1 < text.size(); ++i) prompt.add((i == 0 ? "" : " ") + text[i]);
  prompt.move_into(task);
  task.answer = " " + text.back();
}

}  // namespace anchor
