#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

namespace anchor {

/// The bytes of a text file. Data errors: it cannot be read, or holds more than `most` bytes (so that a
/// device or a wrong file does not fill the memory).
std::string read_text_file(const std::string& path, std::int64_t most = std::int64_t{64} << 20);

/// The lines of a text file, one after the other, of bounded length.
class LineReader {
 public:
  static constexpr std::size_t longest = std::size_t{256} << 20;  ///< bytes of a line

  explicit LineReader(std::string path);

  struct Line {
    std::string text;    ///< without its newline
    int number = 0;      ///< from 1
    bool whole = false;  ///< ends with a newline
  };
  /// The next line, or nothing at the end. A line that is longer than `longest` is a data error.
  std::optional<Line> next();

 private:
  std::string path_;
  std::ifstream file_;
  int number_ = 0;
};

}  // namespace anchor
