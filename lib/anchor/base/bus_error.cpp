#include "anchor/base/bus_error.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>

namespace anchor {
namespace {

const char* program_name = "anchor";

// Everything below runs in the handler: only what POSIX allows there, and no memory but the stack.

void print(const char* text) {
  for (std::size_t left = std::strlen(text); left > 0;) {
    const ssize_t done = ::write(STDERR_FILENO, text, left);
    if (done <= 0) return;
    text += done;
    left -= static_cast<std::size_t>(done);
  }
}

std::uintptr_t hexadecimal(const char*& at) {
  std::uintptr_t value = 0;
  for (;; ++at) {
    const char c = *at;
    if (c >= '0' && c <= '9') {
      value = 16 * value + static_cast<std::uintptr_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = 16 * value + static_cast<std::uintptr_t>(c - 'a' + 10);
    } else {
      return value;
    }
  }
}

/// Reads the lines of /proc/self/maps, "begin-end rwxp offset device inode   path", one by one.
class Maps {
 public:
  Maps() : file_(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC)) {}

  /// The file that is mapped at an address, or nullptr.
  const char* path_at(std::uintptr_t address) {
    while (read_line()) {
      const char* at = line_;
      const std::uintptr_t begin = hexadecimal(at);
      if (*at == '-') ++at;
      if (address >= begin && address < hexadecimal(at)) return std::strchr(line_, '/');
    }
    return nullptr;
  }

 private:
  // A path that is too long is cut.
  bool read_line() {
    std::size_t length = 0;
    for (char c; ::read(file_, &c, 1) == 1;) {
      if (c == '\n') {
        line_[length] = 0;
        return true;
      }
      if (length + 1 < sizeof line_) line_[length++] = c;
    }
    return false;
  }

  int file_;
  char line_[4608];
};

void handle(int, siginfo_t* info, void*) {
  Maps maps;
  const char* path = maps.path_at(reinterpret_cast<std::uintptr_t>(info->si_addr));
  print(program_name);
  print(": ");
  print(path ? path : "a mapped file");
  print(": cannot read it any more: it was cut short or its disk failed while it was in use\n");
  ::_exit(1);
}

}  // namespace

void report_bus_errors(const char* program) {
  program_name = program;
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace anchor
