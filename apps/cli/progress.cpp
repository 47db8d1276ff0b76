#include "cli/progress.hpp"

#include <fmt/format.h>

#include "cli/terminal.hpp"

namespace anchor::cli {
namespace {

Progress* drawn = nullptr;  // a terminal has one last line

/// "8 s", "12 min", "3 h 20 min"
std::string duration(double seconds) {
  const auto minutes = static_cast<std::int64_t>(seconds / 60 + 0.5);
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  return minutes < 90 ? fmt::format("{} min", minutes)
                      : fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

}  // namespace

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
  drawn = this;
  const double spent = std::chrono::duration<double>(now - start_).count();
  std::string rest;
  if (done > 0) {
    const double left = spent / static_cast<double>(done) * static_cast<double>(total_ - done);
    rest = fmt::format(", {:.3g}/s, {} left", static_cast<double>(done) / spent, duration(left));
  }
  const std::string line =
      fmt::format("{} {}/{} ({:.0f} %{}) {}", what_, done, total_,
                  100 * static_cast<double>(done) / static_cast<double>(total_), rest, detail);
  std::fputs(fmt::format("\r\x1b[K{}", line.substr(0, static_cast<std::size_t>(stderr_width() - 1))).c_str(),
             stderr);
  std::fflush(stderr);
}

void Progress::clear() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
  if (drawn == this) drawn = nullptr;
}

void Progress::clear_any() {
  if (drawn != nullptr) drawn->clear();
}

}  // namespace anchor::cli
