#pragma once

#include <string>
#include <string_view>

namespace anchor::cli {

/// Sees to it that descriptors 0, 1 and 2 are open: a file that a tool opens must not become its stdout.
/// Those that were closed fail when they are read or written. First thing in main.
void open_standard_streams();

/// Writes to stdout at once. A full disk or a closed stdout is a data error; a reader that went away (`|
/// head`) ends the tool as an interrupt does, without a word. After a failure it does nothing.
void print_out(std::string_view text);

/// What is wrong with stdout after all output: empty = everything is written.
std::string stdout_problem();

/// Is it that nobody reads the pipe any more?
bool stdout_reader_is_gone();

/// A line on stderr; one that cannot be written is lost.
void print_error_line(std::string_view line);

/// A warning, hint or failed row on stderr. A run prints at most four lines there: the first two at once, the
/// rest at the end, where a count stands for what does not fit. `all`: no limit.
void print_note(std::string line, bool all = false);
/// Prints the notes that wait. `complaint`: an error's line follows.
void end_notes(bool complaint);

}  // namespace anchor::cli
