#include "anchor/base/text_file.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

std::ifstream opened(const std::string& path) {
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) fail("{}: cannot read: it is a folder", path);
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot read: {}", path, std::strerror(errno));
  return file;
}

}  // namespace

std::string read_text_file(const std::string& path, std::int64_t most) {
  std::ifstream file = opened(path);
  std::string text;
  for (char part[1 << 16]; file.read(part, sizeof part), file.gcount() > 0;) {
    text.append(part, static_cast<std::size_t>(file.gcount()));
    if (static_cast<std::int64_t>(text.size()) > most) fail("{}: has more than {} MiB", path, most >> 20);
  }
  if (file.bad()) fail("{}: cannot read", path);
  return text;
}

LineReader::LineReader(std::string path) : path_(std::move(path)), file_(opened(path_)) {}

std::optional<LineReader::Line> LineReader::next() {
  Line line{.text = {}, .number = ++number_};
  while (!line.whole) {
    char part[1 << 14];
    file_.getline(part, sizeof part);  // of more than that it takes the beginning and says so
    const std::streamsize count = file_.gcount();
    if (file_.bad()) fail("{}:{}: cannot read", path_, number_);
    if (file_.eof()) {
      line.text.append(part, static_cast<std::size_t>(count));
      if (line.text.empty()) return std::nullopt;
      return line;
    }
    line.whole = !file_.fail();
    line.text.append(part, static_cast<std::size_t>(count) - (line.whole ? 1 : 0));
    file_.clear();
    if (line.text.size() > longest) fail("{}:{}: a line of more than {} MiB", path_, number_, longest >> 20);
  }
  return line;
}

}  // namespace anchor
