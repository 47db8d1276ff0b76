#include "anchor/rows/row_store.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "anchor/base/error.hpp"
#include "anchor/base/part_file.hpp"
#include "anchor/base/text_file.hpp"

namespace anchor {
namespace {

/// Is one the beginning of the other?
bool begins_like(std::string_view line, std::string_view row) {
  const std::size_t both = std::min(line.size(), row.size());
  return line.substr(0, both) == row.substr(0, both);
}

/// Reads the rows of a jsonl file; returns how many bytes of it are whole lines.
std::int64_t read_finished(const std::string& path, std::map<std::string, ResultRow>& finished) {
  static const std::string row_begin = fmt::format("{{\"schema\":\"{}\"", result_schema);
  std::int64_t whole = 0;
  LineReader lines(path);
  while (const auto line = lines.next()) {
    const bool torn = !line->whole && (whole > 0 || begins_like(line->text, row_begin));
    if (torn) break;
    const std::optional<Json> row = parse_row(line->text);
    if (!row || !line->whole) {
      fail("{}: line {} is not a result row; --resume continues only a file that this tool wrote", path,
           line->number);
    }
    whole += static_cast<std::int64_t>(line->text.size() + 1);
    ResultRow read = row_from_json(*row, fmt::format("{}:{}", path, line->number));
    if (read.status != "error") finished[read.unit] = std::move(read);
  }
  return whole;
}

}  // namespace

RowStore::RowStore(const std::string& path, bool resume) : path_(path) {
  if (const auto device = open_device(path)) {
    descriptor_ = *device;
    return;
  }
  const std::string target = PartFile::target_of(path);
  descriptor_ = open_locked(target, path);
  try {
    replaces_ = !resume;
    if (resume) keep(read_finished(target, finished_));
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

RowStore::~RowStore() { ::close(descriptor_); }

const ResultRow* RowStore::find(const std::string& unit) const {
  const auto it = finished_.find(unit);
  return it == finished_.end() ? nullptr : &it->second;
}

/// Cuts off what lies behind so many bytes; rows follow them.
void RowStore::keep(std::int64_t bytes) {
  if (::ftruncate(descriptor_, bytes) != 0 || ::lseek(descriptor_, bytes, SEEK_SET) < 0)
    fail("cannot write {}: {}", path_, std::strerror(errno));
}

void RowStore::append(const Json& row) {
  if (replaces_) keep(0);
  replaces_ = false;
  write_all(descriptor_, json_text(row) + "\n", path_);
}

}  // namespace anchor
