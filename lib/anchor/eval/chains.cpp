// Several facts that lead from one to the next.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "anchor/eval/haystack.hpp"

namespace anchor {

// RULER's variable tracking with one chain of four hops: X = 12345, Y = X, ... among sentences.
void make_variables(const TaskRequest& request, Task& task) {
  constexpr int hops = 4;
  const bool test = request.is_test();
  TaskRandom random(request.seed);
  std::vector<std::string> names;
  while (static_cast<int>(names.size()) <= hops) {
    std::string name = random.capitals(5);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  }
  const std::string value = random.digits(5);
  std::vector<double> depths{request.depth};
  while (static_cast<int>(depths.size()) <= hops)
    depths.push_back(request.depth + (1 - request.depth) * random.unit());
  std::sort(depths.begin(), depths.end());
  Haystack hay(request, random);
  for (int i = 0; i <= hops; ++i) {
    const std::string from = i == 0 ? value : names[static_cast<std::size_t>(i) - 1];
    const std::string& name = names[static_cast<std::size_t>(i)];
    hay.hide(depths[static_cast<std::size_t>(i)],
             test ? fmt::format("Set {} to {}{}.", name, i == 0 ? "" : "the value of ", from)
                  : fmt::format("VAR {} = {}.", name, from),
             true);
  }
  PromptText prompt;
  prompt.add(test ? "Settings are scattered over this text. Keep track of them.\n\n"
                  : "Follow the assignments of variables in the text below.\n\n");
  hay.write(prompt);
  prompt.add(fmt::format(
      fmt::runtime(test ? "All {1} settings that hold {0}, in the order in which they were set:"
                        : "In the order of their assignment, the {1} variables with value {0} are:"),
      value, names.size()));
  prompt.move_into(task);
  task.answer = fmt::format(" {}", fmt::join(names, ", "));
}

// A ring of arrows in random order: from a start, four steps.
void make_graph_walk(const TaskRequest& request, Task& task) {
  constexpr std::size_t steps = 4;
  const bool test = request.is_test();
  TaskRandom random(request.seed);
  const std::int64_t count = std::max<std::int64_t>(request.size, steps + 2);
  const std::vector<std::string> nodes = request.vocabulary.keys(random, count);
  std::vector<std::size_t> order(nodes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  random.shuffle(order);
  PromptText prompt;
  prompt.add(test ? "Which station comes after which:\n\n" : "Arrows of a graph, one per line:\n\n");
  for (const std::size_t i : order) {
    const std::string line = fmt::format("{} -> {}", nodes[i], nodes[(i + 1) % nodes.size()]);
    prompt.add(line, i < steps);
    prompt.add("\n");
  }
  prompt.add(
      fmt::format(fmt::runtime(test ? "\nThe next {1} stations after {0} are, in order:"
                                    : "\nFrom {0}, the {1} nodes that the arrows lead to, one by one:"),
                  nodes[0], steps));
  prompt.move_into(task);
  task.answer = fmt::format(" {}", fmt::join(nodes.begin() + 1, nodes.begin() + 1 + steps, ", "));
}

}  // namespace anchor
