#include "cli/main.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>

#include "anchor/base/bus_error.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/method.hpp"
#include "cli/common_options.hpp"
#include "cli/completion.hpp"
#include "cli/file_roles.hpp"
#include "cli/help.hpp"
#include "cli/streams.hpp"
#include "cli/terminal.hpp"

namespace anchor::cli {
namespace {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::data:
      return 1;
    case ErrorKind::usage:
      return 2;
    case ErrorKind::interrupted: {
      const int signal = interrupt_signal;
      return 128 + (signal == 0 ? SIGINT : signal);
    }
  }
  return 1;
}

/// One line, whatever the message holds.
int complain(const CLI::App& app, const std::string& message, int code) {
  end_notes(true);
  print_error_line(fmt::format("{}: {}", app.get_name(), message));
  return code;
}

void handle_signals() {
  struct sigaction action {};
  action.sa_handler = [](int signal) {
    interrupt_signal = signal;
    interrupt_requested = true;
  };
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  for (const int signal : {SIGTERM, SIGHUP}) {  // batch systems send them, and terminals that close
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);  // nohup's stays
  }
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then a failed write, reported like a full disk
  std::signal(SIGPIPE, SIG_IGN);  // and so is a reader that went away
}

/// The subcommand that the command line chose, or the tool itself.
CLI::App* chosen(CLI::App& app) {
  CLI::App* last = &app;
  while (!last->get_subcommands().empty()) last = last->get_subcommands().front();
  return last;
}

/// "anchor-dump " for a subcommand of it.
std::string path_of(const CLI::App* command) {
  const CLI::App* parent = command->get_parent();
  return parent == nullptr ? "" : path_of(parent) + parent->get_name() + " ";
}

int help_width() { return stdout_is_terminal() ? std::clamp(terminal_width(), 40, 100) : 80; }

/// Every tool and subcommand has -h (short) and --help (complete).
void set_help(CLI::App& app) {
  app.set_help_flag("-h", "Short help");
  app.set_help_all_flag("--help", "Complete help");
  for (CLI::App* sub : app.get_subcommands({})) set_help(*sub);
}

/// --completion SHELL and --man: hidden, for ./dev and for packagers.
void add_generators(CLI::App& app) {
  app.add_option_function<std::string>("--completion",
                                       [&app](const std::string& shell) {
                                         print_out(completion(describe(app), shell));
                                         throw CLI::Success();
                                       })
      ->configurable(false)
      ->group("");
  app.add_flag_callback("--man",
                        [&app] {
                          print_out(man_page(describe(app), version_text()));
                          throw CLI::Success();
                        })
      ->configurable(false)
      ->group("");
}

/// "unexpected argument --thta; did you mean --theta?"
std::string unexpected(CLI::App& app) {
  const std::vector<std::string> extras = app.remaining(true);
  const std::string word = extras.empty() ? "" : extras.front().substr(0, extras.front().find('='));
  std::vector<std::string> known;
  for (const CLI::Option* option : chosen(app)->get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  for (const CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    const auto* option = word.starts_with("--") ? command->get_option_no_throw(word) : nullptr;
    if (option != nullptr && command != chosen(app))
      return fmt::format("unexpected argument {}; {} {} has it", word, app.get_name(), command->get_name());
  }
  const std::string close = word.starts_with("--") ? nearest(word, known) : "";
  return close.empty() ? fmt::format("unexpected argument {}; -h shows what there is", word)
                       : fmt::format("unexpected argument {}; did you mean {}?", word, close);
}

/// "--out is required; anchor-dump model -h shows examples", or the list of commands to choose from.
std::string missing(CLI::App& app, const CLI::RequiredError& error) {
  CLI::App* tool = chosen(app);
  const std::vector<CLI::App*> commands = tool->get_subcommands([](CLI::App*) { return true; });
  const std::string name = path_of(tool) + tool->get_name();
  if (commands.empty()) return fmt::format("{}; {} -h shows examples", error.what(), name);
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  return fmt::format("which command: {}? -h says what they do", fmt::join(names, ", "));
}

/// "FILE: there is no option thetta; did you mean theta?"
std::string wrong_key(CLI::App& app, const CLI::ConfigError& error) {
  constexpr std::string_view unknown = "INI was not able to parse ";
  std::string file, message = error.what();
  for (CLI::App* at = chosen(app); at != nullptr && file.empty(); at = at->get_parent())
    if (const CLI::Option* config = at->get_config_ptr(); config != nullptr && config->count() > 0)
      file = config->as<std::string>() + ": ";
  if (!message.starts_with(unknown)) return file + message;
  std::string key = message.substr(unknown.size());
  if (key.ends_with(".++"))  // CLI11's word for the beginning of a section
    return fmt::format("{}there is no section [{}]", file, key.substr(0, key.size() - 3));
  std::vector<std::string> known;
  for (const CLI::Option* option : chosen(app)->get_options())
    for (const std::string& name : option->get_lnames()) known.push_back(name);
  const std::string close = nearest(key, known);
  return fmt::format(
      "{}there is no option {}{}", file, key,
      close.empty() ? "; --print-config shows them" : fmt::format("; did you mean {}?", close));
}

int parse_and_run(int argc, char** argv, CLI::App& app, const Command& command) {
  try {
    app.parse(argc, argv);
    check_files(app);
    return command();
  } catch (const CLI::CallForHelp&) {
    print_out(short_help(describe(*chosen(app)), help_width()));
    return 0;
  } catch (const CLI::CallForAllHelp&) {
    print_out(complete_help(describe(*chosen(app)), path_of(chosen(app)), help_width()));
    return 0;
  } catch (const CLI::RequiredError& error) {
    return complain(app, missing(app, error), 2);
  } catch (const CLI::ExtrasError&) {
    return complain(app, unexpected(app), 2);
  } catch (const CLI::FileError& error) {
    return complain(app, error.what(), 1);
  } catch (const CLI::ConfigError& error) {
    return complain(app, wrong_key(app, error), 2);
  } catch (const CLI::CallForVersion& version) {
    print_out(std::string(version.what()) + "\n");
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return 0;  // a flag that only prints
    return complain(app, error.what(), 2);
  }
}

/// The exit code, after what is said of an error.
int run_and_report(int argc, char** argv, CLI::App& app, const Command& command) {
  try {
    return parse_and_run(argc, argv, app, command);
  } catch (const Error& error) {
    const int code = exit_code(error.kind());
    const bool silent = error.kind() == ErrorKind::interrupted && interrupt_signal == SIGPIPE;
    return silent ? code : complain(app, error.what(), code);
  } catch (const std::bad_alloc&) {
    return complain(app, "out of memory", 1);
  } catch (const std::exception& error) {
    if (stdout_reader_is_gone()) return 128 + SIGPIPE;
    return complain(app, error.what(), 1);
  }
}

}  // namespace

int run_main(int argc, char** argv, CLI::App& app, const Command& command) {
  open_standard_streams();
  handle_signals();
  const std::string name = app.get_name();
  report_bus_errors(name.c_str());
  set_help(app);
  add_generators(app);
  const int code = run_and_report(argc, argv, app, command);
  const std::string problem = stdout_problem();
  if (!problem.empty() && stdout_reader_is_gone()) return 128 + SIGPIPE;
  if (!problem.empty() && code != 1) return complain(app, problem, 1);
  end_notes(false);
  return code;
}

}  // namespace anchor::cli
