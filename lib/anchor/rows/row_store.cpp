#include "anchor/rows/row_store.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

/// Reads the rows of a jsonl file; returns how many bytes of it are whole lines.
std::uintmax_t read_rows(const std::string& path, std::map<std::string, ResultRow>& finished) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("{}: cannot read: {}", path, std::strerror(errno));
  std::uintmax_t whole = 0;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const bool torn = in.eof();  // no newline at its end
    if (torn) break;
    const std::optional<Json> row = parse_row(line);
    if (!row) {
      fail("{}: line {} is not a result row; --resume continues only a file that this tool wrote", path,
           number);
    }
    whole += line.size() + 1;
    ResultRow read = row_from_json(*row, fmt::format("{}:{}", path, number));
    if (read.status != "error") finished[read.unit] = std::move(read);
  }
  return whole;
}

}  // namespace

RowStore::RowStore(const std::string& path, bool resume) : path_(path), file_(nullptr, std::fclose) {
  if (resume && std::filesystem::exists(path)) std::filesystem::resize_file(path, read_rows(path, finished_));
  file_.reset(std::fopen(path.c_str(), resume ? "ab" : "wb"));
  if (!file_) fail("{}: cannot write: {}", path, std::strerror(errno));
}

const ResultRow* RowStore::find(const std::string& unit) const {
  const auto it = finished_.find(unit);
  return it == finished_.end() ? nullptr : &it->second;
}

void RowStore::append(const Json& row) {
  const std::string line = row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()) != 0) {
    fail("{}: cannot write: {}", path_, std::strerror(errno));
  }
}

}  // namespace anchor
