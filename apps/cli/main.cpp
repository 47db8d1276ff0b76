#include "cli/main.hpp"

#include <csignal>
#include <cstdio>
#include <new>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

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

int complain(const CLI::App& app, const char* message, int code) {
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

}  // namespace

int run_main(int argc, char** argv, CLI::App& app, const Command& command) {
  handle_signals();
  try {
    app.parse(argc, argv);
    return command();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
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
