#include "cli/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>

namespace anchor::cli {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int width_of(int file) {
  winsize size{};
  if (ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

bool stdout_is_terminal() { return isatty(STDOUT_FILENO) != 0; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) != 0; }

int terminal_width() { return width_of(STDOUT_FILENO); }
int stderr_width() { return width_of(STDERR_FILENO); }

std::string one_line(const std::string& text, int width) {
  const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  const auto length = std::count_if(text.begin(), text.end(), starts_character);
  std::string made;
  int characters = 0;
  for (const char c : text) {
    if (starts_character(c) && length > width && ++characters >= width) return made + "…";
    const bool space = c == '\n' || c == '\t' || c == '\r';
    made += space ? ' ' : static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return made;
}

bool terminal_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string locale(environment(name));
    if (locale.empty()) continue;
    std::transform(locale.begin(), locale.end(), locale.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  }
  return false;
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
