#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "anchor/base/part_file.hpp"

namespace anchor {

/// A text file that appears under its name only when it is complete: written as NAME.part, which commit()
/// renames, and removed if that never happens. Devices and pipes are written as they stand.
class OutputFile {
 public:
  /// Opens and locks the .part file at once, so that an unwritable place or a second writer is a data error
  /// before any work is done. An output that is one of `inputs` is a usage error.
  explicit OutputFile(const std::string& path, std::span<const std::string> inputs = {});
  ~OutputFile();
  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;

  void write(std::string_view text);
  /// Everything is on the disk and under its name when this returns.
  void commit();

 private:
  std::unique_ptr<PartFile> part_;  ///< nullptr: committed
  std::string buffer_;
};

/// Writes the whole file at once.
void write_text_file(const std::string& path, std::string_view text);

}  // namespace anchor
