#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anchor/report/output_file.hpp"
#include "anchor/report/row_writer.hpp"
#include "anchor/rows/row_store.hpp"
#include "cli/common_options.hpp"

namespace anchor::cli {

/// Who gets a row: the bulkier, the fewer.
enum class Audience {
  everyone,
  files,     ///< all but stdout's table: the tool prints its own
  programs,  ///< all but tables for eyes
  json,      ///< jsonl and json: what has no place in a table, such as curves
  store,     ///< jsonl files only: intermediate results that --resume needs
};

/// The rows of a long table that a reader would look for.
struct Selection {
  enum class Order { least, most };
  std::string field;  ///< by which they are ordered
  Order order = Order::least;
  std::string words;  ///< "that keep least"
};

/// Where a tool's result rows go: stdout and every --out file. All files are opened before any work is done;
/// jsonl files grow row by row, the others appear when finish() is reached.
class Output {
 public:
  /// `eye` columns make the table for people (the last are left out where the terminal is narrow), `all`
  /// those of files.
  Output(const CommonOptions& options, std::vector<Column> eye, std::vector<Column> all);

  /// The finished row of that unit from the file that --resume continues, or nullptr.
  const ResultRow* finished(const std::string& unit) const;

  /// A new row, or one `kept` from the resumed file, which has it already.
  void row(const ResultRow& row, Audience audience = Audience::everyone, bool kept = false);

  /// Ends stdout's document and puts the files under their names.
  void finish();
  /// Ends stdout's document after an interrupt: unfinished files other than jsonl are dropped.
  void interrupt();

  /// What a terminal shows of more than 40 rows where nobody asked for a format: a dozen. Call it before the
  /// first row.
  void shorten(Selection selection);

  bool markdown() const { return format_ == "md"; }

 private:
  struct File {
    std::string format;
    std::unique_ptr<OutputFile> file;
    std::unique_ptr<RowWriter> writer;
  };
  void show_held();

  std::vector<std::unique_ptr<RowStore>> stores_;  ///< the first one is resumed
  bool resume_;
  bool shortens_;  ///< stdout is a terminal, and nobody asked for a format
  std::optional<Selection> selection_;
  std::vector<Json> held_;  ///< rows that wait for the selection
  std::vector<File> files_;
  std::string format_;  ///< of stdout
  std::unique_ptr<RowWriter> stdout_;
};

}  // namespace anchor::cli
