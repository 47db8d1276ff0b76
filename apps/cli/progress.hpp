#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace anchor::cli {

/// A line on stderr that says how far a loop is, how fast, and how long the rest will take. It shows only on
/// a terminal, at most ten times a second, fits its width and leaves nothing behind.
class Progress {
 public:
  Progress(std::string what, std::int64_t total, bool quiet);
  ~Progress();
  /// `done` of the total are finished; `detail` says which one is next.
  void update(std::int64_t done, const std::string& detail = {});
  /// Removes the line, so that something else can be printed.
  void clear();
  /// Removes the line of whichever progress shows one: for code that prints and knows of none.
  static void clear_any();

 private:
  std::string what_;
  std::int64_t total_;
  bool shown_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_{};
};

}  // namespace anchor::cli
