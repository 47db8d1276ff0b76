#pragma once

#include "anchor/report/heatmap.hpp"

namespace anchor::cli {

bool stdout_is_terminal();
bool stderr_is_terminal();

/// Columns of the terminal on stdout; 80 where there is none.
int terminal_width();

/// What colours stdout can show: none off a terminal, with NO_COLOR set or TERM=dumb; else by COLORTERM and
/// TERM.
TerminalColors terminal_colors();

}  // namespace anchor::cli
