#include "cli/help.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace anchor::cli {
namespace {

constexpr int column = 26;

std::string line(const std::string& left, const std::string& right, int width) {
  std::string text = "  " + left;
  if (text.size() + 1 > column) {
    text += "\n" + std::string(column, ' ');
  } else {
    text.resize(column, ' ');
  }
  return text + wrap(right, width, column, column) + "\n";
}

/// The options of one group, or the arguments.
std::string group(const CommandEntry& command, const std::string& title, const std::string& name, int width) {
  std::string text;
  for (const OptionEntry& option : command.options) {
    if (option.positional() ? name == "Arguments" : option.group == name)
      text += line(option.usage(), option.full_help(), width);
  }
  return text.empty() ? "" : fmt::format("\n{}:\n{}", title, text);
}

std::string subcommands(const CommandEntry& command, int width) {
  std::string text;
  for (const CommandEntry& sub : command.subcommands) text += line(sub.name, sub.description, width);
  return text.empty() ? "" : "\nCommands:\n" + text;
}

}  // namespace

std::string short_help(const CommandEntry& command, int width) {
  std::string text;
  for (const Example& example : command.examples) text += example.command + "\n";
  if (!text.empty()) text += "\n";
  text += wrap(command.description, width, 0) + "\n" + subcommands(command, width);
  CommandEntry shown = command;
  std::erase_if(shown.options, [](const OptionEntry& option) {
    return option.usage() == "-h" || option.usage() == "--help";
  });
  for (const char* name : {"Arguments", "Options"}) text += group(shown, name, name, width);
  return text + "\n--help lists every option and shows what the examples print.\n";
}

std::string complete_help(const CommandEntry& command, const std::string& path, int width) {
  std::string usage = path + command.name + " [OPTIONS]";
  std::vector<std::string> groups;
  for (const OptionEntry& option : command.options) {
    if (option.positional()) {
      usage += option.required ? " " + option.name : " [" + option.name + "]";
    } else if (option.group != "Options" &&
               std::find(groups.begin(), groups.end(), option.group) == groups.end()) {
      groups.push_back(option.group);
    }
  }
  if (!command.subcommands.empty())
    usage += command.takes_argument() ? "\n       " + path + command.name + " COMMAND ..." : " COMMAND ...";
  std::string text = fmt::format("{}\n\nUsage: {}\n", wrap(command.description, width, 0), usage);
  text += subcommands(command, width) + group(command, "Arguments", "Arguments", width) +
          group(command, "Options", "Options", width);
  for (const std::string& name : groups) text += group(command, name, name, width);
  if (!command.examples.empty()) text += "\nExamples:\n";
  for (const Example& example : command.examples) {
    text += "\n$ " + example.command + "\n";
    for (const std::string& printed : example.output) text += printed + "\n";
  }
  return text;
}

}  // namespace anchor::cli
