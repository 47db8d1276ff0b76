#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace anchor {

/// What went wrong, as far as the caller must tell cases apart: the tools turn a kind into their exit code.
enum class ErrorKind {
  data,         ///< a file, dataset, layer or device cannot be used (exit 1)
  usage,        ///< the request makes no sense: a flag, parameter or combination (exit 2)
  interrupted,  ///< Ctrl-C (exit 130)
};

/// The one exception type of the library. The message is one line: what, where, what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(one_line(message)), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  // Names that come from damaged files may hold line breaks and terminal controls.
  static std::string one_line(std::string message) {
    for (char& c : message) {
      if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
    }
    return message;
  }

  ErrorKind kind_;
};

/// Throws a data error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::data, fmt::format(format, std::forward<Args>(args)...));
}

/// Throws a usage error with a formatted message.
template <class... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::usage, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace anchor
