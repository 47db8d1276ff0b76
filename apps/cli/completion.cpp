#include "cli/completion.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor::cli {
namespace {

std::string replace(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

/// In single quotes, for any of the three shells.
std::string quoted(const std::string& text, const std::string& shell) {
  if (shell == "fish") return "'" + replace(replace(text, "\\", "\\\\"), "'", "\\'") + "'";
  return "'" + replace(text, "'", "'\\''") + "'";
}

std::string function_name(const CommandEntry& tool) { return "_" + replace(tool.name, "-", "_"); }

// ---- bash ----

/// The body of a `case`: what completes the value of the option before the cursor, and the options' names.
std::string bash_command(const CommandEntry& command, const std::string& indent) {
  std::string cases;
  std::vector<std::string> names;
  for (const OptionEntry& option : command.options) {
    names.insert(names.end(), option.flags.begin(), option.flags.end());
    if (option.positional() || option.value.empty()) continue;
    cases += fmt::format("{}  {}) ", indent, fmt::join(option.flags, "|"));
    if (!option.choices.empty()) {
      // A list is completed after its last comma.
      cases +=
          fmt::format("COMPREPLY=($(compgen -P \"${{word%\"${{word##*,}}\"}}\" -W {} -- \"${{word##*,}}\"))",
                      quoted(fmt::format("{}", fmt::join(option.choices, " ")), "bash"));
    } else {
      cases += option.takes_file() ? "compopt -o default" : ":";
    }
    cases += "; return ;;\n";
  }
  std::string text;
  if (!cases.empty()) text += fmt::format("{}case $previous in\n{}{}esac\n", indent, cases, indent);
  for (const CommandEntry& sub : command.subcommands) names.push_back(sub.name);
  const std::string list = quoted(fmt::format("{}", fmt::join(names, " ")), "bash");
  const std::string reply = fmt::format("COMPREPLY=($(compgen -W {} -- \"$word\"))\n", list);
  if (!command.subcommands.empty() && !command.takes_argument()) return text + indent + reply;
  if (!command.subcommands.empty()) {
    std::vector<std::string> commands;
    for (const CommandEntry& sub : command.subcommands) commands.push_back(sub.name);
    return text +
           fmt::format(
               "{0}if [[ $word != -* ]]; then\n"
               "{0}  COMPREPLY=($(compgen -W '{1}' -- \"$word\") $(compgen -f -- \"$word\"))\n"
               "{0}  compopt -o filenames; return\n{0}fi\n",
               indent, fmt::join(commands, " ")) +
           indent + reply;
  }
  return text + indent + "if [[ $word != -* ]]; then compopt -o default; return; fi\n" + indent + reply;
}

std::string bash(const CommandEntry& tool) {
  std::string text = fmt::format(
      "# bash completion of {0}: source it, or put it into ~/.local/share/bash-completion/completions/{0}\n"
      "{1}() {{\n"
      "  local word=$2 previous=$3 command= each\n"
      "  COMPREPLY=()\n"
      "  [[ $word == = ]] && word=\n"
      "  [[ $previous == = ]] && previous=${{COMP_WORDS[COMP_CWORD-2]}}\n",
      tool.name, function_name(tool));
  if (!tool.subcommands.empty()) {
    std::vector<std::string> names;
    for (const CommandEntry& sub : tool.subcommands) names.push_back(sub.name);
    text += fmt::format(
        "  for each in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n"
        "    case $each in {}) command=$each; break ;; esac\n"
        "  done\n"
        "  case $command in\n",
        fmt::join(names, "|"));
    for (const CommandEntry& sub : tool.subcommands)
      text += fmt::format("    {})\n{}      return ;;\n", sub.name, bash_command(sub, "      "));
    text += "  esac\n";
  }
  return text + bash_command(tool, "  ") +
         fmt::format("}}\ncomplete -F {} {}\n", function_name(tool), tool.name);
}

// ---- zsh ----

/// One specification of _arguments.
std::string zsh_option(const OptionEntry& option) {
  const auto escape = [](const std::string& text) {
    return replace(replace(replace(text, "[", "\\["), "]", "\\]"), ":", "\\:");
  };
  const std::string action = !option.choices.empty() ? fmt::format("({})", fmt::join(option.choices, " "))
                             : option.takes_file()   ? "_files"
                                                     : " ";
  if (option.positional())
    return quoted(fmt::format("{}:{}:_files", option.required ? "" : ":", escape(option.name)), "zsh");
  const std::string value = option.value.empty() ? "" : fmt::format(":{}:{}", escape(option.value), action);
  std::string specs;
  for (const std::string& flag : option.flags) {
    const std::string others =
        option.repeatable || option.flags.size() < 2 ? "" : fmt::format("({})", fmt::join(option.flags, " "));
    const std::string equals = option.value.empty() ? "" : flag.starts_with("--") ? "=" : "+";
    if (!specs.empty()) specs += " ";
    specs += quoted(fmt::format("{}{}{}{}[{}]{}", option.repeatable ? "*" : "", others, flag, equals,
                                escape(option.help), value),
                    "zsh");
  }
  return specs;
}

std::string zsh_arguments(const CommandEntry& command, const std::string& indent) {
  std::string text = indent + "_arguments -s -S";
  for (const OptionEntry& option : command.options) {
    if (option.positional() && !command.subcommands.empty()) continue;  // offered beside the commands
    text += " \\\n" + indent + "  " + zsh_option(option);
  }
  return text;
}

std::string zsh(const CommandEntry& tool) {
  std::string text = fmt::format("#compdef {}\n{}() {{\n", tool.name, function_name(tool));
  if (tool.subcommands.empty()) {
    text += zsh_arguments(tool, "  ") + "\n";
  } else {
    text += "  local -a commands line\n  local state\n  commands=(\n";
    for (const CommandEntry& sub : tool.subcommands)
      text += "    " + quoted(sub.name + ":" + replace(sub.description, ":", "\\:"), "zsh") + "\n";
    text += "  )\n" + zsh_arguments(tool, "  ") +
            " \\\n    '1:command:->command' '*::argument:->argument'\n"
            "  case $state in\n"
            "    command) _describe command commands" +
            (tool.takes_argument() ? "; _files" : "") +
            " ;;\n"
            "    argument)\n"
            "      case $line[1] in\n";
    for (const CommandEntry& sub : tool.subcommands)
      text += fmt::format("        {})\n{} ;;\n", sub.name, zsh_arguments(sub, "          "));
    text += "      esac ;;\n  esac\n";
  }
  return text + fmt::format("}}\nif [ \"$funcstack[1]\" = {0} ]; then {0} \"$@\"; else compdef {0} {1}; fi\n",
                            function_name(tool), tool.name);
}

// ---- fish ----

std::string fish_command(const std::string& tool, const CommandEntry& command, const std::string& condition) {
  std::string text;
  for (const OptionEntry& option : command.options) {
    if (option.positional()) continue;
    text += fmt::format("complete -c {}{}", tool, condition);
    for (const std::string& flag : option.flags)
      text += flag.starts_with("--") ? " -l " + flag.substr(2) : " -s " + flag.substr(1);
    if (!option.value.empty()) {
      text += option.takes_file() ? " -r -F" : " -x";
      if (!option.choices.empty())
        text += " -a " + quoted(fmt::format("{}", fmt::join(option.choices, " ")), "fish");
    }
    text += " -d " + quoted(option.help, "fish") + "\n";
  }
  return text;
}

std::string fish(const CommandEntry& tool) {
  std::string text =
      fmt::format("# fish completion of {0}: put it into ~/.config/fish/completions/{0}.fish\n", tool.name);
  std::vector<std::string> names;
  for (const CommandEntry& sub : tool.subcommands) names.push_back(sub.name);
  const std::string none =
      names.empty() ? "" : fmt::format(" -n 'not __fish_seen_subcommand_from {}'", fmt::join(names, " "));
  for (const CommandEntry& sub : tool.subcommands) {
    text += fmt::format("complete -c {}{}{} -a {} -d {}\n", tool.name, none,
                        tool.takes_argument() ? "" : " -f", sub.name, quoted(sub.description, "fish"));
  }
  text += fish_command(tool.name, tool, none);
  for (const CommandEntry& sub : tool.subcommands)
    text += fish_command(tool.name, sub, fmt::format(" -n '__fish_seen_subcommand_from {}'", sub.name));
  return text;
}

}  // namespace

std::string completion(const CommandEntry& tool, const std::string& shell) {
  if (shell == "bash") return bash(tool);
  if (shell == "zsh") return zsh(tool);
  if (shell == "fish") return fish(tool);
  fail_usage("--completion {}: known shells are bash, zsh and fish", shell);
}

}  // namespace anchor::cli
