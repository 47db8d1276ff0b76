#include "anchor/eval/make_tasks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

std::uint64_t seed_of(const TaskSet& set, std::size_t kind, std::int64_t length, int index) {
  CounterRandom random = CounterRandom(set.seed).stream(set.split == TaskSplit::test ? 1 : 0);
  random = random.stream(kind).stream(static_cast<std::uint64_t>(length));
  return random.bits(static_cast<std::uint64_t>(index));
}

}  // namespace

double depth_of(int index, int count) {
  return count == 1 ? 0.5 : static_cast<double>(index) / static_cast<double>(count - 1);
}

Task make_task(const TaskKind& kind, const TaskRequest& request, std::int64_t length,
               const CountTokens& tokens) {
  const auto made = [&](std::int64_t size) {
    TaskRequest sized{request.vocabulary, request.prose, request.seed, size, request.depth};
    Task task;
    kind.make(sized, task);
    return task;
  };
  const auto cost = [&](const Task& task) { return tokens(task.prompt + task.answer); };
  Task best = made(1);
  std::int64_t fits = 1, cost_fits = cost(best);
  if (cost_fits > length)
    fail_usage("no task of kind {} fits into {} tokens; the smallest has {}", kind.name, length, cost_fits);
  // Costs are nearly a straight line in the size: interpolate between what fits and what does not, then
  // halve.
  std::int64_t over = 0, cost_over = 0, size = 32;
  for (int round = 0; over == 0 || over - fits > 1; ++round) {
    Task task = made(size);
    const std::int64_t now = cost(task);
    if (now <= length) {
      best = std::move(task);
      fits = size;
      cost_fits = now;
    } else {
      over = size;
      cost_over = now;
    }
    if (over == 0) {
      const double slope =
          static_cast<double>(std::max<std::int64_t>(cost_fits, 1)) / static_cast<double>(fits);
      size = std::max(2 * fits, static_cast<std::int64_t>(static_cast<double>(length) / slope));
      if (size == fits) ++size;
    } else if (round < 6) {
      const double share =
          static_cast<double>(length - cost_fits) / static_cast<double>(cost_over - cost_fits);
      size = fits + static_cast<std::int64_t>(share * static_cast<double>(over - fits));
      size = std::clamp(size, fits + 1, over - 1);
    } else {
      size = fits + (over - fits) / 2;
    }
  }
  best.kind = kind.name;
  best.length = length;
  best.seed = request.seed;
  return best;
}

void make_tasks(const TaskSet& set, const CountTokens& tokens, const std::function<void(const Task&)>& use) {
  const Vocabulary vocabulary(set.split, set.words);
  for (const std::string& name : set.kinds) {
    const TaskKind& kind = task_kind(name);
    const auto place = static_cast<std::size_t>(&kind - task_kinds().data());
    for (const std::int64_t length : set.lengths) {
      for (int index = 0; index < set.count; ++index) {
        check_interrupt();
        const TaskRequest request{vocabulary, set.prose, seed_of(set, place, length, index), 1,
                                  kind.has_depth ? depth_of(index, set.count) : 0.};
        Task task = make_task(kind, request, length, tokens);
        task.id = fmt::format("{}-{}-{}", name, length, index);
        use(task);
      }
    }
  }
}

std::vector<std::string> sentences_of(std::string_view text) {
  std::vector<std::string> sentences;
  std::string sentence;
  const auto end = [&] {
    if (!sentence.empty()) sentences.push_back(std::move(sentence));
    sentence.clear();
  };
  bool gap = false;
  for (const char c : text) {
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      gap = true;
      continue;
    }
    if (gap) {
      const char last = sentence.empty() ? ' ' : sentence.back();
      if (last == '.' || last == '?' || last == '!') {
        end();
      } else if (!sentence.empty()) {
        sentence += ' ';
      }
      gap = false;
    }
    sentence += c;
  }
  end();
  return sentences;
}

}  // namespace anchor
