#include "cli/option_table.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "anchor/method/method.hpp"

namespace anchor::cli {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

/// What the option's value is called, and the words of CLI::IsMember, which CLI11 keeps only as the
/// description of a validator ("{md,csv}") appended to that name.
std::pair<std::string, std::vector<std::string>> value_of(CLI::Option& option) {
  std::string name = option.get_type_name();
  std::vector<std::string> words;
  for (int n = 0;; ++n) {
    std::string about;
    try {
      about = option.get_validator(n)->get_description();
    } catch (const CLI::OptionNotFound&) {  // the only way to learn how many there are
      break;
    }
    if (about.empty()) continue;
    if (const auto at = name.find(":" + about); at != std::string::npos) name.erase(at, about.size() + 1);
    if (about.starts_with('{') && about.ends_with('}')) words = split(about.substr(1, about.size() - 2), ',');
  }
  return {name, words};
}

std::vector<std::string> choices_of(const std::string& value, std::vector<std::string> words) {
  if (value == "NAME") {  // --method
    std::vector<std::string> names;
    for (const Method& method : methods()) names.push_back(method.name);
    return names;
  }
  if (value == "DEVICE") return {"auto", "reference", "cpu", "cuda"};
  return words;
}

OptionEntry entry(CLI::Option& option) {
  OptionEntry made;
  for (const std::string& name : option.get_snames()) made.flags.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) made.flags.push_back("--" + name);
  made.name = option.get_name(true);
  made.help = option.get_description();
  made.group = option.get_group();
  made.required = option.get_required();
  if (option.get_items_expected_max() > 0) {
    auto [value, words] = value_of(option);
    made.value = value.empty() || value == "TEXT"    ? (words.empty() ? "VALUE" : "WORD")
                 : value == "INT" || value == "UINT" ? "N"
                 : value == "FLOAT"                  ? "X"
                                                     : value;
    made.choices = choices_of(value, words);
    if (option.get_name() == "--config") made.value = "FILE";
    made.default_value = option.get_default_str();
    made.repeatable = option.get_expected_max() == CLI::detail::expected_max_vector_size;
  }
  return made;
}

std::vector<Example> examples_of(const std::string& footer) {
  std::vector<Example> examples;
  for (const std::string& line : split(footer, '\n')) {
    if (!line.starts_with("  ")) {
      examples.push_back({line, {}});
    } else if (!examples.empty()) {
      examples.back().output.push_back(line.substr(2));
    }
  }
  return examples;
}

}  // namespace

bool OptionEntry::takes_file() const {
  return positional() || value == "FILE" || value.starts_with("DUMP") || value.find('.') != std::string::npos;
}

std::string OptionEntry::usage() const {
  if (positional()) return name;
  return fmt::format("{}{}{}", fmt::join(flags, ","), value.empty() ? "" : " ", value);
}

std::string OptionEntry::full_help() const {
  std::string text = help;
  const bool short_list = choices.size() > 1 && choices.size() <= 16;
  if (short_list && help.find(choices[1]) == std::string::npos)
    text += fmt::format(": {}", fmt::join(choices, ", "));
  if (required && !positional()) text += " (required)";
  if (!default_value.empty() && default_value != "0" && help.find("default") == std::string::npos)
    text += fmt::format(" (default {})", default_value);
  return text;
}

bool CommandEntry::takes_argument() const {
  return std::ranges::any_of(options, [](const OptionEntry& option) { return option.positional(); });
}

CommandEntry describe(CLI::App& app) {
  CommandEntry made{app.get_name(), app.get_description(), examples_of(app.get_footer()), {}, {}};
  for (CLI::Option* option : app.get_options([](CLI::Option*) { return true; })) {
    if (!option->get_group().empty()) made.options.push_back(entry(*option));
  }
  for (CLI::App* sub : app.get_subcommands([](CLI::App*) { return true; }))
    made.subcommands.push_back(describe(*sub));
  return made;
}

std::string wrap(const std::string& text, int width, int indent, int column) {
  std::string made;
  for (const std::string& word : split(text, ' ')) {
    const auto length = static_cast<int>(word.size());
    const bool first = made.empty();
    if (!first && column + 1 + length > width) {
      made += "\n" + std::string(static_cast<std::size_t>(indent), ' ');
      column = indent;
    } else if (!first) {
      made += ' ';
      ++column;
    }
    made += word;
    column += length;
  }
  return made;
}

}  // namespace anchor::cli
