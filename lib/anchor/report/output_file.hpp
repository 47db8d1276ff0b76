#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace anchor {

/// A text file that appears under its name only when it is complete: written as NAME.part, renamed by
/// commit(), and removed if that never happens.
class OutputFile {
 public:
  /// Opens the .part file at once, so that an unwritable place is a data error before any work is done.
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;

  void write(std::string_view text);
  void commit();

 private:
  std::string path_, part_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

/// Writes the whole file at once.
void write_text_file(const std::string& path, std::string_view text);

}  // namespace anchor
