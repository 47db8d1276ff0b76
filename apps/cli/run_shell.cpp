#include "cli/run_shell.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor::cli {
namespace {

/// "layer 3 head 2 anchor", as far as the row says it; the length of what was timed.
std::string place_of(const ResultRow& row) {
  std::string place;
  if (row.kind == "bench" && row.geometry) place += fmt::format("{} tokens ", row.geometry->kv_len);
  if (row.layer) place += fmt::format("layer {} ", *row.layer);
  if (row.head) place += fmt::format("head {} ", *row.head);
  return place + row.method;
}

}  // namespace

RunShell::RunShell(const CommonOptions& options, std::vector<Column> eye, std::vector<Column> all,
                   const std::string& thresholds_out)
    : options_(options), output_(options, std::move(eye), std::move(all)) {
  if (!thresholds_out.empty()) thresholds_.emplace(thresholds_out);
}

bool RunShell::all_finished(const std::vector<ResultRow>& rows) const {
  return std::ranges::all_of(rows, [&](const ResultRow& row) { return finished(row.unit) != nullptr; });
}

ResultRow RunShell::emit(const ResultRow& row, Audience audience) {
  const ResultRow* kept = finished(row.unit);
  output_.row(kept ? *kept : row, audience, kept != nullptr);
  return kept ? *kept : row;
}

ResultRow RunShell::emit_result(const ResultRow& row, Audience audience) {
  ResultRow shown = emit(row, audience);
  if (shown.ok()) {
    ++succeeded_;
    return shown;
  }
  if (shown.status == "error") ++failed_;
  if (first_error_.empty()) first_error_ = shown.error;
  options_.note(fmt::format("{}: {}: {}", place_of(shown), shown.status, shown.error));
  return shown;
}

void RunShell::run(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) output_.interrupt();
    throw;
  }
}

void RunShell::finish() {
  if (succeeded_ == 0) {
    output_.interrupt();
    fail("{}", first_error_);
  }
  output_.finish();
}

void RunShell::write_thresholds(const std::string& text) {
  thresholds_->write(text);
  thresholds_->commit();
  thresholds_.reset();
}

}  // namespace anchor::cli
