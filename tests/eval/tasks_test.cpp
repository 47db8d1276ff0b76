#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "anchor/base/error.hpp"
#include "anchor/eval/make_tasks.hpp"

using namespace anchor;

namespace {

/// One token per four bytes: enough for the laws below.
std::int64_t quarter(std::string_view text) { return static_cast<std::int64_t>((text.size() + 3) / 4); }

std::vector<Task> tasks_of(TaskSet set) {
  std::vector<Task> tasks;
  make_tasks(set, quarter, [&](const Task& task) { tasks.push_back(task); });
  return tasks;
}

TaskSet all_kinds(std::vector<std::int64_t> lengths, int count) {
  TaskSet set{.lengths = std::move(lengths), .count = count};
  for (const TaskKind& kind : task_kinds()) set.kinds.emplace_back(kind.name);
  return set;
}

std::string evidence_text(const Task& task) {
  std::string text;
  for (const auto& [begin, end] : task.evidence)
    text += task.prompt.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)) + "\n";
  return text;
}

}  // namespace

TEST_CASE("tasks fill their length, and no further") {
  for (const Task& task : tasks_of(all_kinds({1024, 4096}, 4))) {
    CAPTURE(task.id);
    const std::int64_t tokens = quarter(task.prompt + task.answer);
    CHECK(tokens <= task.length);
    CHECK(tokens > task.length - 160);  // the largest unit is a line of a dialogue, twice
  }
}

TEST_CASE("the evidence holds every part of the answer") {
  for (const Task& task : tasks_of(all_kinds({1024}, 6))) {
    if (task.kind == "plain") continue;
    CAPTURE(task.id);
    const std::string evidence = evidence_text(task);
    for (const std::string& part : task.parts()) CHECK(evidence.find(part) != std::string::npos);
    if (task.kind == "needle_middle") CHECK(task.inner.size() == 5);
    for (const auto& [begin, end] : task.inner) {
      const std::string answer = task.prompt.substr(static_cast<std::size_t>(begin) + 1, 7);
      CHECK(end - begin == 8);
      CHECK(evidence.find(answer) != std::string::npos);
    }
  }
}

TEST_CASE("a needle lies where its depth says, from the beginning to the end") {
  TaskSet set{.kinds = {"needle", "key_value", "nth_item", "passkey"}, .lengths = {2048}, .count = 9};
  for (const Task& task : tasks_of(set)) {
    CAPTURE(task.id);
    const int index = std::stoi(task.id.substr(task.id.rfind('-') + 1));
    REQUIRE(task.depth);
    CHECK(*task.depth == doctest::Approx(depth_of(index, 9)).epsilon(0.12));
  }
}

TEST_CASE("equal seeds give equal tasks, other seeds and splits others") {
  const TaskSet set = all_kinds({512, 1024}, 2);
  const auto lines = [](TaskSet of) {
    of.kinds.erase(std::find(of.kinds.begin(), of.kinds.end(), "common_words"));  // does not fit into 512
    std::set<std::string> prompts;
    for (const Task& task : tasks_of(of)) prompts.insert(task.prompt);
    return prompts;
  };
  const std::set<std::string> first = lines(set);
  CHECK(first.size() == 14 * 2 * 2);
  CHECK(lines(set) == first);
  TaskSet other = set;
  other.seed = 2;
  for (const std::string& prompt : lines(other)) CHECK(first.count(prompt) == 0);
}

TEST_CASE("the splits share neither words nor wordings") {
  const Vocabulary fit(TaskSplit::fit), test(TaskSplit::test);
  for (const std::string& noun : fit.nouns())
    CHECK(std::count(test.nouns().begin(), test.nouns().end(), noun) == 0);
  CHECK(fit.nouns().size() > 120);
  CHECK(test.adjectives().size() > 70);
  const auto first_line = [](TaskSplit split) {
    TaskSet set = all_kinds({1024}, 1);
    set.split = split;
    std::set<std::string> lines;
    for (const Task& task : tasks_of(set))
      if (task.kind != "plain" && task.kind != "repeat")
        lines.insert(task.prompt.substr(0, task.prompt.find('\n')));
    return lines;
  };
  const std::set<std::string> of_fit = first_line(TaskSplit::fit);
  for (const std::string& line : first_line(TaskSplit::test)) CHECK(of_fit.count(line) == 0);
}

TEST_CASE("the answers to counting tasks are what counting gives") {
  TaskSet set{.kinds = {"common_words"}, .lengths = {4096}, .count = 3};
  for (const Task& task : tasks_of(set)) {
    std::map<std::string, int> counts;
    std::istringstream words(
        task.prompt.substr(task.prompt.find("\n\n"), task.prompt.rfind("\n\n") - task.prompt.find("\n\n")));
    for (std::string number, word; words >> number >> word;) ++counts[word];
    for (const std::string& part : task.parts()) CHECK(counts[part] == 30);
    CHECK(std::count_if(counts.begin(), counts.end(), [](const auto& c) { return c.second == 30; }) == 5);
  }
}

TEST_CASE("tasks files are read back, and what is wrong is named") {
  const std::string path = std::filesystem::temp_directory_path() / "anchor_tasks_test.jsonl";
  const std::vector<Task> tasks =
      tasks_of({.kinds = {"needle_middle", "plain"}, .lengths = {600}, .count = 2});
  std::ofstream file(path);
  for (const Task& task : tasks) file << task_line(task) << "\n";
  file.close();
  const std::vector<Task> back = read_tasks(path);
  REQUIRE(back.size() == tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) CHECK(task_line(back[i]) == task_line(tasks[i]));

  const auto broken = [&](const std::string& line, const std::string& message) {
    std::ofstream(path) << task_line(tasks[0]) << "\n" << line << "\n";
    try {
      read_tasks(path);
      FAIL("no error for ", line);
    } catch (const Error& error) {
      CHECK(std::string(error.what()) == path + ":2: " + message);
    }
  };
  broken("{", "not JSON");
  broken(R"({"schema":"anchor-result/1"})", "field \"schema\" is not anchor-tasks/1");
  broken(R"({"schema":"anchor-tasks/1"})", "field \"id\" is missing");
  const std::string head = R"({"schema":"anchor-tasks/1","id":"a","kind":"k","length":9,)";
  broken(head + R"("depth":"x"})", "field \"depth\" is not a number");
  broken(head + R"("depth":null,"prompt":"","answer":"d","evidence":[],"seed":1})",
         "field \"prompt\" is empty");
  broken(head + R"("depth":null,"prompt":"abc","answer":"d","evidence":[[2,2]],"seed":1})",
         "field \"evidence\" holds [2, 2], which is no ascending span");
  broken(head + R"("depth":null,"prompt":"abc","answer":"d","evidence":[[2]],"seed":1})",
         "field \"evidence\" holds something other than [begin, end]");
  std::filesystem::remove(path);
}

TEST_CASE("a length in which nothing fits is a usage error") {
  CHECK_THROWS_WITH(tasks_of({.kinds = {"common_words"}, .lengths = {100}}),
                    doctest::Contains("no task of kind common_words fits into 100 tokens"));
  CHECK_THROWS_WITH(tasks_of({.kinds = {"poem"}, .lengths = {100}}),
                    doctest::Contains("no kind of task poem; there are needle"));
}
