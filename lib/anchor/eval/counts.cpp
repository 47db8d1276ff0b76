// What only the whole text says.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "anchor/eval/prompt_text.hpp"
#include "anchor/eval/task_kinds.hpp"

namespace anchor {
// RULER's common words extraction: ten words occur 30 times each, the others three times; here five are asked
// for, in the order of their first occurrence. Every place of a common word is evidence.
void make_common_words(const TaskRequest& request, Task& task) {
  constexpr std::size_t common = 5, often = 30, seldom = 3;
  TaskRandom random(request.seed);
  const std::vector<std::string> words =
      request.vocabulary.words(random, static_cast<std::int64_t>(common) + request.size);
  std::vector<std::size_t> list;
  for (std::size_t i = 0; i < words.size(); ++i) list.insert(list.end(), i < common ? often : seldom, i);
  random.shuffle(list);
  std::vector<std::string> answer;
  PromptText prompt;
  prompt.add(request.is_test() ? "What was sold today, sale by sale:\n\n"
                               : "A list of words, some of them again and again:\n\n");
  for (std::size_t i = 0; i < list.size(); ++i) {
    prompt.add(fmt::format("{}. ", i + 1));
    const std::string& word = words[list[i]];
    if (list[i] < common) {
      prompt.add_evidence(word);
      if (std::find(answer.begin(), answer.end(), word) == answer.end()) answer.push_back(word);
    } else {
      prompt.add(word);
    }
    prompt.add(" ");
  }
  prompt.add(
      fmt::format(fmt::runtime(request.is_test()
                                   ? "\n\nThe {} best sellers, by their first sale:"
                                   : "\n\nThe {} most common words, in the order in which they first come:"),
                  common));
  prompt.move_into(task);
  task.depth.reset();
  task.answer = fmt::format(" {}", fmt::join(answer, ", "));
}

// RULER's frequent words extraction: word number r of a coined vocabulary occurs in proportion to 1 / r^2;
// the three most frequent are asked for, the most frequent first.
void make_frequent_words(const TaskRequest& request, Task& task) {
  constexpr int asked = 3;
  TaskRandom random(request.seed);
  const std::int64_t count = std::max<std::int64_t>(request.size, 16);
  std::vector<std::size_t> list;
  double sum = 0;
  for (int rank = 1; rank <= 64; ++rank) sum += 1. / (rank * rank);
  for (int rank = 1; rank <= 64; ++rank) {
    const double times = static_cast<double>(count) / (rank * rank) / sum;
    list.insert(list.end(), static_cast<std::size_t>(std::max(1L, std::lround(times))),
                static_cast<std::size_t>(rank - 1));
  }
  const std::vector<std::string> words = request.vocabulary.coined(random, 64);
  random.shuffle(list);
  PromptText prompt;
  prompt.add(request.is_test() ? "Signals of an unknown language were recorded:\n\n" : "A coded text:\n\n");
  for (const std::size_t word : list) {
    prompt.add(words[word], word < asked);
    prompt.add(" ");
  }
  prompt.add(request.is_test() ? "\n\nThe three signals heard most, the most frequent first:"
                               : "\n\nIts three most frequent words, from the most frequent one on:");
  prompt.move_into(task);
  task.depth.reset();
  task.answer = fmt::format(" {}", fmt::join(words.begin(), words.begin() + asked, ", "));
}

}  // namespace anchor
