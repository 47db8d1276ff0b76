// One line among many lines of the same form.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "anchor/eval/prompt_text.hpp"
#include "anchor/eval/task_kinds.hpp"

namespace anchor {
namespace {

std::size_t asked_line(const TaskRequest& request) {
  return static_cast<std::size_t>(std::lround(request.depth * static_cast<double>(request.size - 1)));
}

void add_line(PromptText& prompt, const std::string& line, bool is_evidence) {
  prompt.add(line, is_evidence);
  prompt.add("\n");
}

}  // namespace

void make_key_value(const TaskRequest& request, Task& task) {
  TaskRandom random(request.seed);
  const std::vector<std::string> keys = request.vocabulary.keys(random, request.size);
  const std::size_t asked = asked_line(request);
  PromptText prompt;
  prompt.add(request.is_test() ? "The stock list of the store room, item and shelf number:\n\n"
                               : "A table of names and their numbers:\n\n");
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::string value = random.digits(5);
    add_line(prompt, keys[i] + ": " + value, i == asked);
    if (i == asked) task.answer = " " + value;
  }
  prompt.add(request.is_test() ? "\nThe shelf number of one item was asked for again:\n"
                               : "\nLook one of them up.\n");
  prompt.add(keys[asked] + ":");
  prompt.move_into(task);
}

void make_nth_item(const TaskRequest& request, Task& task) {
  TaskRandom random(request.seed);
  const std::vector<std::string> items = request.vocabulary.keys(random, request.size);
  const std::size_t asked = asked_line(request);
  PromptText prompt;
  prompt.add(request.is_test() ? "Here is who signed the book, in order:\n\n"
                               : "A numbered list follows.\n\n");
  for (std::size_t i = 0; i < items.size(); ++i)
    add_line(prompt, fmt::format("{}. {}", i + 1, items[i]), i == asked);
  prompt.add(fmt::format(fmt::runtime(request.is_test() ? "\nThe name at place {} of the book is"
                                                        : "\nItem number {} of the list is"),
                         asked + 1));
  prompt.move_into(task);
  task.answer = " " + items[asked];
}

// Every thing is asked about twice in a long dialogue; the second reply is wanted.
void make_coreference(const TaskRequest& request, Task& task) {
  TaskRandom random(request.seed);
  const std::int64_t things = std::max<std::int64_t>(request.size / 2, 1);
  const std::vector<std::string> subjects = request.vocabulary.keys(random, things);
  std::vector<std::size_t> turns;
  for (std::size_t i = 0; i < subjects.size(); ++i) turns.insert(turns.end(), {i, i});
  random.shuffle(turns);
  // The second turn of some thing that lies closest to the depth asked for.
  const double place = request.depth * static_cast<double>(turns.size() - 1);
  std::vector<int> seen(subjects.size(), 0);
  std::size_t asked = 0;
  double nearest = INFINITY;
  for (std::size_t t = 0; t < turns.size(); ++t) {
    const double away = std::fabs(static_cast<double>(t) - place);
    if (++seen[turns[t]] == 2 && away < nearest) {
      nearest = away;
      asked = t;
    }
  }
  const auto asks = [&](std::size_t thing) {
    return fmt::format(fmt::runtime(request.is_test() ? "Visitor: What would you put into the {}?\nKeeper:"
                                                      : "User: Think of a word for the {}.\nAssistant:"),
                       subjects[thing]);
  };
  PromptText prompt;
  for (std::size_t t = 0; t < turns.size(); ++t) {
    const std::string reply =
        random.pick(request.vocabulary.adjectives()) + " " + random.pick(request.vocabulary.nouns());
    prompt.add(asks(turns[t]));
    add_line(prompt, " " + reply, t == asked);
    if (t == asked) task.answer = " " + reply;
  }
  prompt.add(fmt::format(
      fmt::runtime(request.is_test() ? "Visitor: Say again your second answer about the {}.\nKeeper:"
                                     : "User: Repeat the second word that you gave for the {}.\nAssistant:"),
      subjects[turns[asked]]));
  prompt.move_into(task);
}

}  // namespace anchor
