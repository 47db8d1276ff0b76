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
#include "cli/help.hpp"
#include "cli/terminal.hpp"

namespace anchor::cli {
namespace {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::data:
      return 1;
    case ErrorKind::usage:
      return 2;
    case ErrorKind::interrupted:
      return 130;
  }
  return 1;
}

/// One line, whatever the message holds.
int complain(const CLI::App& app, std::string message, int code) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  fmt::print(stderr, "{}: {}\n", app.get_name(), message);
  return code;
}

void handle_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_requested = true; };
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then a failed write, reported like a full disk
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
                                         fmt::print("{}", completion(describe(app), shell));
                                         throw CLI::Success();
                                       })
      ->configurable(false)
      ->group("");
  app.add_flag_callback("--man",
                        [&app] {
                          fmt::print("{}", man_page(describe(app), version_text()));
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

}  // namespace

int run_main(int argc, char** argv, CLI::App& app, const Command& command) {
  handle_signals();
  const std::string name = app.get_name();
  report_bus_errors(name.c_str());
  set_help(app);
  add_generators(app);
  try {
    app.parse(argc, argv);
    return command();
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", short_help(describe(*chosen(app)), help_width()));
    return 0;
  } catch (const CLI::CallForAllHelp&) {
    fmt::print("{}", complete_help(describe(*chosen(app)), path_of(chosen(app)), help_width()));
    return 0;
  } catch (const CLI::RequiredError& error) {
    return complain(app, missing(app, error), 2);
  } catch (const CLI::ExtrasError&) {
    return complain(app, unexpected(app), 2);
  } catch (const CLI::FileError& error) {
    return complain(app, error.what(), 1);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --version and other flags that only print
    return complain(app, error.what(), 2);
  } catch (const Error& error) {
    return complain(app, error.what(), exit_code(error.kind()));
  } catch (const std::bad_alloc&) {
    return complain(app, "out of memory", 1);
  } catch (const std::exception& error) {
    return complain(app, error.what(), 1);
  }
}

}  // namespace anchor::cli
