#include "cli/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace anchor::cli {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

bool stdout_is_terminal() { return isatty(STDOUT_FILENO) != 0; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) != 0; }

int terminal_width() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

TerminalColors terminal_colors() {
  // CLICOLOR_FORCE asks for colours in a pipe, as in `... | less -R`; NO_COLOR wins over everything.
  const bool wanted = stdout_is_terminal() || !environment("CLICOLOR_FORCE").empty();
  if (!wanted || !environment("NO_COLOR").empty() || environment("TERM") == "dumb")
    return TerminalColors::none;
  const std::string_view color = environment("COLORTERM");
  if (color == "truecolor" || color == "24bit") return TerminalColors::rgb;
  if (environment("TERM").find("256color") != std::string_view::npos) return TerminalColors::palette256;
  return TerminalColors::none;
}

}  // namespace anchor::cli
