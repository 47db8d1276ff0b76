#include "anchor/eval/task_kinds.hpp"

#include <fmt/ranges.h>

#include <array>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr std::array kinds{
    TaskKind{"needle", "niah_single_2", "one number of one key among sentences", true, make_needle},
    TaskKind{"needle_keys", "niah_multikey_1", "the number of one key, others have one too", true,
             make_needle_keys},
    TaskKind{"needle_values", "niah_multivalue", "all four numbers of one key", true, make_needle_values},
    TaskKind{"needle_queries", "niah_multiquery", "the numbers of four keys", true, make_needle_queries},
    TaskKind{"needle_middle", "", "questions in the middle of the text, one at its end", true,
             make_needle_middle},
    TaskKind{"passkey", "niah_single_1", "a number in a text that repeats itself", true, make_passkey},
    TaskKind{"key_value", "niah_multikey_3", "one line of a table of nothing else", true, make_key_value},
    TaskKind{"nth_item", "", "the item of that number in a numbered list", true, make_nth_item},
    TaskKind{"coreference", "", "what was asked for the second time about one thing", true, make_coreference},
    TaskKind{"variables", "vt", "all variables that got a value through others", true, make_variables},
    TaskKind{"graph_walk", "", "where four steps along arrows lead", false, make_graph_walk},
    TaskKind{"common_words", "cwe", "the words that a list has most often", false, make_common_words},
    TaskKind{"frequent_words", "fwe", "the three most frequent coined words", false, make_frequent_words},
    TaskKind{"repeat", "", "the second half repeats the first", false, make_repeat},
    TaskKind{"plain", "", "a text to go on with, nothing asked", false, make_plain},
};

}  // namespace

std::span<const TaskKind> task_kinds() { return kinds; }

const TaskKind& task_kind(std::string_view name) {
  std::vector<std::string_view> names;
  for (const TaskKind& kind : kinds) {
    if (kind.name == name) return kind;
    names.push_back(kind.name);
  }
  fail_usage("no kind of task {}; there are {}", name, fmt::join(names, ", "));
}

}  // namespace anchor
