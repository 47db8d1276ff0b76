#include "dump/problems.hpp"

#include <fmt/format.h>

namespace anchor::dump {

void print_problems(std::FILE* stream, const std::vector<std::string>& problems) {
  constexpr std::size_t most_lines = 4;
  const std::size_t shown = problems.size() > most_lines ? most_lines - 1 : problems.size();
  for (std::size_t i = 0; i < shown; ++i) fmt::print(stream, "{}\n", problems[i]);
  if (shown < problems.size()) fmt::print(stream, "and {} more\n", problems.size() - shown);
}

}  // namespace anchor::dump
