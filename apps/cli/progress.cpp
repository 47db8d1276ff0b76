#include "cli/progress.hpp"

#include <fmt/format.h>

#include "cli/terminal.hpp"

namespace anchor::cli {

Progress::Progress(std::string what, std::int64_t total, bool quiet)
    : what_(std::move(what)),
      total_(total),
      shown_(!quiet && stderr_is_terminal()),
      start_(std::chrono::steady_clock::now()) {}

Progress::~Progress() { clear(); }

void Progress::update(std::int64_t done, const std::string& detail) {
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || total_ == 0 || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  const double spent = std::chrono::duration<double>(now - start_).count();
  std::string rest;
  if (done > 0) {
    const double left = spent / static_cast<double>(done) * static_cast<double>(total_ - done);
    rest = left < 90 ? fmt::format(", {:.0f} s left", left) : fmt::format(", {:.0f} min left", left / 60);
  }
  const std::string line =
      fmt::format("{} {}/{} ({:.0f} %{}) {}", what_, done, total_,
                  100 * static_cast<double>(done) / static_cast<double>(total_), rest, detail);
  fmt::print(stderr, "\r\x1b[K{}", line.substr(0, 79));
  std::fflush(stderr);
}

void Progress::clear() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

}  // namespace anchor::cli
