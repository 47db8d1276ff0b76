#include "cli/streams.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "cli/progress.hpp"

namespace anchor::cli {
namespace {

constexpr std::size_t notes_at_once = 2, most_lines = 4;

bool stdout_failed = false;
std::size_t notes_printed = 0;
std::vector<std::string> waiting_notes;

}  // namespace

void open_standard_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The wrong way round, so that what needs the stream notices; open() takes the lowest free number.
    [[maybe_unused]] const int opened = open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY);
  }
}

bool stdout_reader_is_gone() {
  pollfd one{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&one, 1, 0) == 1 && (one.revents & POLLERR) != 0;
}

void print_out(std::string_view text) {
  if (stdout_failed) return;
  Progress::clear_any();
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  const int reason = errno;
  stdout_failed = true;
  if (reason != EPIPE) fail("cannot write to standard output: {}", std::strerror(reason));
  interrupt_signal = SIGPIPE;
  throw Error(ErrorKind::interrupted, "nobody reads standard output");
}

std::string stdout_problem() {
  const bool earlier = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !earlier) return {};
  return earlier ? "cannot write to standard output"
                 : fmt::format("cannot write to standard output: {}", std::strerror(errno));
}

void print_error_line(std::string_view line) {
  std::string text(line);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  text += '\n';
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void print_note(std::string line, bool all) {
  if (!all && notes_printed >= notes_at_once) {
    waiting_notes.push_back(std::move(line));
    return;
  }
  ++notes_printed;
  Progress::clear_any();
  print_error_line(line);
}

void end_notes(bool complaint) {
  std::vector<std::string> notes = std::move(waiting_notes);
  waiting_notes.clear();
  if (notes.empty()) return;
  Progress::clear_any();
  const std::size_t used = notes_printed + (complaint ? 1 : 0);
  const std::size_t room = used < most_lines ? most_lines - used : 1;
  std::size_t first = 0;
  if (notes.size() > room) {
    first = notes.size() - (room - 1);
    print_error_line(fmt::format("... and {} more such lines (-v shows all)", first));
  }
  for (std::size_t n = first; n < notes.size(); ++n) print_error_line(notes[n]);
}

}  // namespace anchor::cli
