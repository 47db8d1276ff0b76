#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace anchor::cli {

/// One option of a tool, or one of its positional arguments.
struct OptionEntry {
  std::vector<std::string> flags;  ///< "-o", "--out"; empty for a positional argument
  std::string name;                ///< of a positional argument: DUMP
  std::string value;               ///< what the value is: FILE, LIST; empty for a flag
  std::vector<std::string> choices;
  std::string help, group, default_value;
  bool required = false, repeatable = false;

  bool positional() const { return flags.empty(); }
  bool takes_file() const;  ///< its value is the path of a file
  /// "-o,--out FILE"
  std::string usage() const;
  /// The help with its default and its choices.
  std::string full_help() const;
};

/// A command line that people can copy, and what it prints on a terminal (its lines, may be empty).
struct Example {
  std::string command;
  std::vector<std::string> output;
};

/// A tool or one of its subcommands. Help, completions and man pages are all made from this table, which is
/// read off CLI11's.
struct CommandEntry {
  std::string name, description;
  std::vector<Example> examples;
  std::vector<OptionEntry> options;
  std::vector<CommandEntry> subcommands;

  bool takes_argument() const;  ///< has a positional argument
};

/// Reads the table off a set-up CLI11 app. Its footer holds the examples: a line per command, the lines that
/// it prints indented by two spaces below it. Options of an empty group are hidden.
CommandEntry describe(CLI::App& app);

/// Text in lines of at most `width` columns, broken at spaces, every line but the first behind `indent`
/// spaces. `column` is where the first line starts.
std::string wrap(const std::string& text, int width, int indent, int column = 0);

}  // namespace anchor::cli
