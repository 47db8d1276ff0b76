#include "cli/main.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/method.hpp"

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

/// -h: the examples (the footer), then the options of the default group.
void print_short_help(CLI::App& app) {
  CLI::App* tool = chosen(app);
  if (!tool->get_footer().empty()) fmt::print("{}\n\n", tool->get_footer());
  fmt::print("{}\n", tool->get_description());
  const auto* formatter = dynamic_cast<const CLI::Formatter*>(tool->get_formatter().get());
  std::vector<const CLI::Option*> options, positionals;
  for (const CLI::Option* option : tool->get_options()) {
    const bool help = option == tool->get_help_ptr() || option == tool->get_help_all_ptr();
    if (option->get_group() != "Options" || help) continue;
    (option->get_positional() ? positionals : options).push_back(option);
  }
  if (!positionals.empty()) fmt::print("{}", formatter->make_group("Arguments", true, positionals));
  if (!options.empty()) fmt::print("{}", formatter->make_group("Options", false, options));
  for (const CLI::App* sub : tool->get_subcommands({})) {
    fmt::print("  {:<20} {}\n", sub->get_name(), sub->get_description());
  }
  fmt::print("\n--help lists every option.\n");
}

/// Every tool and subcommand has -h (short) and --help (complete).
void set_help(CLI::App& app) {
  app.set_help_flag("-h", "Short help");
  app.set_help_all_flag("--help", "Complete help");
  app.get_formatter()->column_width(34);
  for (CLI::App* sub : app.get_subcommands({})) set_help(*sub);
}

/// "unexpected argument --thta; did you mean --theta?"
std::string unexpected(CLI::App& app) {
  const std::vector<std::string> extras = app.remaining(true);
  const std::string word = extras.empty() ? "" : extras.front().substr(0, extras.front().find('='));
  std::vector<std::string> known;
  for (const CLI::Option* option : chosen(app)->get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string close = word.starts_with("--") ? nearest(word, known) : "";
  return close.empty() ? fmt::format("unexpected argument {}; -h shows what there is", word)
                       : fmt::format("unexpected argument {}; did you mean {}?", word, close);
}

}  // namespace

int run_main(int argc, char** argv, CLI::App& app, const Command& command) {
  handle_signals();
  set_help(app);
  try {
    app.parse(argc, argv);
    return command();
  } catch (const CLI::CallForHelp&) {
    print_short_help(app);
    return 0;
  } catch (const CLI::CallForAllHelp&) {
    fmt::print("{}", chosen(app)->help("", CLI::AppFormatMode::All));
    return 0;
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
