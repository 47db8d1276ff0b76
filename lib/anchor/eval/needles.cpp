// Facts of the form "the code number of KEY is VALUE", hidden among sentences.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "anchor/eval/haystack.hpp"

namespace anchor {
namespace {

struct Wording {
  std::string_view task, fact, ask_one, ask_all, ask_several;
};

/// The wordings of the splits fit and test, which share no sentence.
constexpr Wording wordings[] = {
    {"Somewhere in the following text a few code numbers are given. Remember them, you will be asked.\n\n",
     "The code number of {0} is {1}.",
     "Question: which code number does the text give for {0}? Answer: The code number of {0} is",
     "Question: which code numbers does the text give for {0}, in their order? Answer: The code numbers of "
     "{0} are",
     "Question: which code numbers does the text give for {0}? Answer: In this order they are"},
    {"Read this carefully. It mentions secret pins that will be needed at the end.\n\n",
     "Note that {0} has the secret pin {1}.",
     "Now say what pin was noted for {0}. The secret pin that {0} has is",
     "Now say all pins that were noted for {0}, first to last. The secret pins that {0} has are",
     "Now say the pins that were noted for {0}. One after the other, they are"},
};

const Wording& wording(const TaskRequest& request) { return wordings[request.is_test()]; }

std::string fact(const TaskRequest& request, const std::string& key, const std::string& value) {
  return fmt::format(fmt::runtime(wording(request).fact), key, value);
}

void finish(const TaskRequest& request, const Haystack& hay, const std::string& question, std::string answer,
            Task& task) {
  PromptText prompt;
  prompt.add(wording(request).task);
  hay.write(prompt);
  prompt.add(question);
  prompt.move_into(task);
  task.answer = std::move(answer);
}

/// `facts` numbers hidden: the first `asked` of them are asked for, and of `same_key`, of one key.
void make(const TaskRequest& request, int facts, int asked, bool same_key, Task& task) {
  TaskRandom random(request.seed);
  const std::vector<std::string> keys = request.vocabulary.keys(random, facts);
  std::vector<std::string> values;
  for (int i = 0; i < facts; ++i) values.push_back(random.digits(7));
  std::vector<double> depths{request.depth};
  while (static_cast<int>(depths.size()) < facts) depths.push_back(random.unit());
  if (same_key) std::sort(depths.begin(), depths.end());  // the answer names the values in their order
  Haystack hay(request, random);
  for (int i = 0; i < facts; ++i)
    hay.hide(depths[i], fact(request, keys[same_key ? 0 : i], values[i]), i < asked);
  const std::vector<std::string> wanted(keys.begin(), keys.begin() + asked);
  values.resize(asked);
  const Wording& words = wording(request);
  const std::string_view form = asked == 1 ? words.ask_one : same_key ? words.ask_all : words.ask_several;
  const std::string subject = same_key ? keys[0] : fmt::format("{}", fmt::join(wanted, ", "));
  finish(request, hay, fmt::format(fmt::runtime(form), subject), fmt::format(" {}", fmt::join(values, ", ")),
         task);
}

}  // namespace

void make_needle(const TaskRequest& request, Task& task) { make(request, 1, 1, false, task); }
void make_needle_keys(const TaskRequest& request, Task& task) { make(request, 4, 1, false, task); }
void make_needle_values(const TaskRequest& request, Task& task) { make(request, 4, 4, true, task); }
void make_needle_queries(const TaskRequest& request, Task& task) { make(request, 4, 4, false, task); }

void make_passkey(const TaskRequest& request, Task& task) {
  TaskRandom random(request.seed);
  const std::string key = request.vocabulary.keys(random, 1)[0], value = random.digits(7);
  std::vector<std::string> loop;
  for (int i = 0; i < 5; ++i) loop.push_back(request.vocabulary.sentence(random));
  Haystack hay(std::move(loop), request.size);
  hay.hide(request.depth, fact(request, key, value), true);
  finish(request, hay, fmt::format(fmt::runtime(wording(request).ask_one), key), " " + value, task);
}

// Six numbers in the first third; five are asked for and answered on the way, at the ends of the last four
// sixths of the text, the last one at its end. A dense last tile helps the last question alone.
void make_needle_middle(const TaskRequest& request, Task& task) {
  constexpr int facts = 6;
  TaskRandom random(request.seed);
  const std::vector<std::string> keys = request.vocabulary.keys(random, facts);
  std::vector<std::string> values;
  for (int i = 0; i < facts; ++i) values.push_back(random.digits(7));
  const Wording& words = wording(request);
  PromptText prompt;
  prompt.add(words.task);
  const std::int64_t part = std::max<std::int64_t>(request.size / 6, 1);
  TaskRequest piece = request;
  piece.size = part * 2;
  Haystack first(piece, random);
  for (int i = 0; i < facts; ++i)
    first.hide((i + request.depth) / facts, fact(request, keys[i], values[i]), true);
  first.write(prompt);
  for (int asked = 0; asked < facts - 1; ++asked) {
    prompt.add(fmt::format(fmt::runtime(words.ask_one), keys[asked]));
    prompt.add_inner_answer(" " + values[asked]);
    prompt.add(".\n\n");
    piece.size = asked < 4 ? part : 0;
    if (piece.size > 0) Haystack(piece, random).write(prompt);
  }
  prompt.add(fmt::format(fmt::runtime(words.ask_one), keys[facts - 1]));
  prompt.move_into(task);
  task.answer = " " + values[facts - 1];
}

}  // namespace anchor
