#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/output.hpp"

namespace anchor::cli {

/// What every run of a tool does around its work: rows go to the outputs, or the finished ones of a resumed
/// file in their place; rows without a result are counted and named on stderr; an interrupt ends the
/// documents and leaves what is finished.
class RunShell {
 public:
  /// Opens all outputs. `thresholds_out`: a file that the tool writes after the rows; empty = none. An
  /// unwritable place is found before the work, not after it.
  RunShell(const CommonOptions& options, std::vector<Column> eye, std::vector<Column> all,
           const std::string& thresholds_out = {});

  Output& output() { return output_; }
  bool markdown() const { return output_.markdown(); }

  /// The finished row of that unit from the file that --resume continues, or nullptr.
  const ResultRow* finished(const std::string& unit) const { return output_.finished(unit); }
  bool all_finished(const std::vector<ResultRow>& rows) const;

  /// Prints the row, or the finished one in its place, which it returns.
  ResultRow emit(const ResultRow& row, Audience audience = Audience::everyone);
  /// The same for a row that holds a result of its own: counts it, and names one without a result.
  ResultRow emit_result(const ResultRow& row, Audience audience = Audience::everyone);

  std::size_t succeeded() const { return succeeded_; }
  std::size_t failed() const { return failed_; }
  const std::string& first_error() const { return first_error_; }

  /// Does the work; an interrupt ends the documents.
  void run(const std::function<void()>& work);
  /// Ends the documents. If no row has a result, that is a data error with the first reason.
  void finish();

  /// Puts the text into the file of `thresholds_out`; without it the file stays as it was.
  void write_thresholds(const std::string& text);

  /// 3 if a row failed, else `otherwise`.
  int exit_code(int otherwise = 0) const { return failed_ > 0 ? 3 : otherwise; }

 private:
  const CommonOptions& options_;
  Output output_;
  std::optional<OutputFile> thresholds_;
  std::size_t succeeded_ = 0, failed_ = 0;
  std::string first_error_;
};

}  // namespace anchor::cli
