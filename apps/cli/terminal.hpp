#pragma once

#include <string>

#include "anchor/report/heatmap.hpp"

namespace anchor::cli {

bool stdout_is_terminal();
bool stderr_is_terminal();

/// Columns of the terminal on stdout; 80 where there is none.
int terminal_width();
/// The same of the terminal on stderr.
int stderr_width();

/// Text as a terminal may show it: at most `width` characters of UTF-8, the last one an ellipsis where it was
/// longer, and no control characters, which names in files could hold.
std::string one_line(const std::string& text, int width);

/// Whether the locale says that the terminal shows UTF-8.
bool terminal_is_utf8();

/// What colours stdout can show: none off a terminal, with NO_COLOR set or TERM=dumb; else by COLORTERM and
/// TERM.
TerminalColors terminal_colors();

}  // namespace anchor::cli
