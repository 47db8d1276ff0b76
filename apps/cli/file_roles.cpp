#include "cli/file_roles.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/base/error.hpp"
#include "anchor/base/part_file.hpp"

namespace anchor::cli {
namespace {

/// The options whose values are files that a tool writes.
constexpr std::array<std::string_view, 7> outputs{"out", "html",           "svg",   "png",
                                                  "pdf", "thresholds-out", "pareto"};

struct Named {
  std::string option, value;
};

void collect(const CLI::App& app, std::vector<Named>& written, std::vector<Named>& read) {
  for (const CLI::Option* option : app.get_options()) {
    const bool writes = std::ranges::any_of(option->get_lnames(), [](const std::string& name) {
      return std::ranges::find(outputs, name) != outputs.end();
    });
    for (const std::string& value : option->results())
      if (!value.empty()) (writes ? written : read).push_back({option->get_name(), value});
  }
  for (const CLI::App* sub : app.get_subcommands()) collect(*sub, written, read);
}

/// A value, the items of a list, and what follows KEY=.
std::vector<std::string> possible_files(const std::string& value) {
  std::vector<std::string> found{value};
  for (std::size_t begin = 0; begin <= value.size();) {
    const std::size_t end = std::min(value.find(',', begin), value.size());
    const std::string item = value.substr(begin, end - begin);
    found.push_back(item);
    if (const auto equals = item.find('='); equals != std::string::npos)
      found.push_back(item.substr(equals + 1));
    begin = end + 1;
  }
  return found;
}

bool same_file(const std::string& a, const std::string& b) {
  struct stat one {
  }, other{};
  const bool both = ::stat(a.c_str(), &one) == 0 && ::stat(b.c_str(), &other) == 0;
  return both && S_ISREG(one.st_mode) && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/// Also of files that are not there yet.
bool same_place(const std::string& a, const std::string& b) {
  struct stat status {};
  if (::stat(a.c_str(), &status) == 0) return same_file(a, b);
  std::error_code none;
  const auto one = std::filesystem::weakly_canonical(std::filesystem::absolute(a, none), none),
             other = std::filesystem::weakly_canonical(std::filesystem::absolute(b, none), none);
  return !one.empty() && one == other;
}

}  // namespace

void check_files(const CLI::App& app) {
  std::vector<Named> written, read;
  collect(app, written, read);
  for (auto one = written.begin(); one != written.end(); ++one) {
    const std::string target = PartFile::target_of(one->value), part = target + ".part";
    for (const Named& input : read) {
      for (const std::string& file : possible_files(input.value)) {
        if (same_file(target, file) || same_file(part, file))
          fail_usage("{} {} would overwrite {}, which is read: the output must be another file", one->option,
                     one->value, file);
      }
    }
    for (auto other = written.begin(); other != one; ++other) {
      const std::string there = PartFile::target_of(other->value);
      if (same_place(there, target) || same_place(there, part) || same_place(there + ".part", target))
        fail_usage("{} {} is given twice: {} {} is the same file", one->option, one->value, other->option,
                   other->value);
    }
  }
}

}  // namespace anchor::cli
