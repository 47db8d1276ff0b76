#include <fmt/ranges.h>

#include <algorithm>

#include "cli/completion.hpp"

namespace anchor::cli {
namespace {

/// Text that roff prints as it is: hyphens stay hyphens that can be copied, no line is taken for a request.
std::string roff(const std::string& text) {
  std::string made;
  for (const char c : text) {
    if (c == '\\') {
      made += "\\e";
    } else if (c == '-') {
      made += "\\-";
    } else {
      made += c;
    }
  }
  if (made.starts_with('.') || made.starts_with('\'')) made.insert(0, "\\&");
  return made;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string synopsis(const std::string& path, const CommandEntry& command) {
  std::string text = fmt::format(".B {}\n[\\fIOPTIONS\\fR]\n", roff(path));
  for (const OptionEntry& option : command.options) {
    if (option.positional())
      text += option.required ? fmt::format(".I {}\n", roff(option.name))
                              : fmt::format("[\\fI{}\\fR]\n", roff(option.name));
  }
  return text;
}

std::string options(const CommandEntry& command) {
  std::string text;
  for (const OptionEntry& option : command.options) {
    std::vector<std::string> flags;
    for (const std::string& flag : option.flags) flags.push_back("\\fB" + roff(flag) + "\\fR");
    text += ".TP\n";
    if (option.positional()) {
      text += "\\fI" + roff(option.name) + "\\fR\n";
    } else {
      text += fmt::format("{}{}\n", fmt::join(flags, ", "),
                          option.value.empty() ? "" : " \\fI" + roff(option.value) + "\\fR");
    }
    text += roff(option.full_help()) + "\n";
  }
  return text;
}

std::string examples(const CommandEntry& command) {
  std::string text;
  for (const Example& example : command.examples) {
    // Tables need the full width.
    text += ".PP\n.in 0\n.nf\n$ " + roff(example.command) + "\n";
    for (const std::string& line : example.output) text += line.empty() ? "\n" : roff(line) + "\n";
    text += ".fi\n.in\n";
  }
  return text;
}

}  // namespace

std::string man_page(const CommandEntry& tool, const std::string& version) {
  std::string text =
      fmt::format(".TH {} 1 \"\" \"{}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
                  roff(upper(tool.name)), roff(version), roff(tool.name), roff(tool.description));
  if (tool.subcommands.empty() || tool.takes_argument())
    text += synopsis(tool.name, tool) + (tool.subcommands.empty() ? "" : ".br\n");
  for (const CommandEntry& sub : tool.subcommands)
    text += synopsis(tool.name + " " + sub.name, sub) + (&sub == &tool.subcommands.back() ? "" : ".br\n");
  text += ".SH OPTIONS\n" + options(tool);
  if (!tool.subcommands.empty()) text += ".SH COMMANDS\n";
  for (const CommandEntry& sub : tool.subcommands)
    text += fmt::format(".SS {} \\- {}\n{}", roff(sub.name), roff(sub.description), options(sub));
  text += ".SH EXAMPLES\n" + examples(tool);
  for (const CommandEntry& sub : tool.subcommands) text += examples(sub);
  text +=
      ".SH ENVIRONMENT\n"
      ".TP\n\\fBNO_COLOR\\fR\nAny value: no colours.\n"
      ".TP\n\\fBCLICOLOR_FORCE\\fR\nAny value: colours also into a pipe.\n"
      ".TP\n\\fBCOLORTERM\\fR, \\fBTERM\\fR\n"
      "truecolor or 24bit, or a TERM that names 256 colours, choose how heatmaps are coloured; else digits.\n"
      ".SH EXIT STATUS\n"
      ".TP\n0\nEverything was computed.\n"
      ".TP\n1\nNothing could be computed: an unreadable file, no such layer or device.\n"
      ".TP\n2\nFlags that make no sense.\n"
      ".TP\n3\nSome units failed; their rows say why.\n"
      ".TP\n4\nA target or a check was not met.\n"
      ".TP\n130\nInterrupted; finished rows are kept.\n";
  std::vector<std::string> others;
  for (const char* name : {"anchor-dump", "anchor-recall", "anchor-sweep", "anchor-bench"}) {
    if (name != tool.name) others.push_back("\\fB" + roff(name) + "\\fR(1)");
  }
  return text + fmt::format(".SH SEE ALSO\n{}\n", fmt::join(others, ", "));
}

}  // namespace anchor::cli
