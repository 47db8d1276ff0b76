#include "anchor/rows/merge_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <span>

#include "anchor/base/error.hpp"
#include "anchor/base/text_file.hpp"
#include "anchor/rows/json_fields.hpp"
#include "anchor/rows/result_row.hpp"
#include "anchor/rows/shard.hpp"

namespace anchor {
namespace {

constexpr std::string_view stamp_key = ",\"shard\":\"";

/// A line in its file.
struct Place {
  std::int64_t piece, offset;
  std::int32_t part, parts, length, file, number;
  bool failed;
};

/// A row without what differs from run to run: when, where, how fast.
Json lasting(Json row) {
  for (const char* name : {"t", "argv", "env", "shard", "time_ns", "stages_ns", "stats", "attention_ms"})
    row.erase(name);
  return row;
}

class Merge {
 public:
  explicit Merge(const std::vector<std::string>& paths) : paths_(paths) {}
  Merged run(const std::function<void(std::string_view)>& write);

 private:
  void read(std::int32_t file);
  void compare(const ShardStamp& stamp, const std::string& where);
  std::string line_of(const Place& place);
  std::string where(const Place& place) const {
    return fmt::format("{}:{}", paths_[static_cast<std::size_t>(place.file)], place.number);
  }
  Place chosen(std::span<const Place> same);

  const std::vector<std::string>& paths_;
  std::vector<Place> places_;
  std::optional<ShardStamp> first_;  ///< of the first row, and where it stands
  std::string first_where_;
  std::vector<std::ifstream> files_;
  Merged merged_;
};

/// All shards answer one request.
void Merge::compare(const ShardStamp& stamp, const std::string& where) {
  if (!first_) {
    first_ = stamp;
    first_where_ = where;
  }
  if (stamp.request != first_->request)
    fail("{} and {} answer different requests; a merge takes the shards of one", first_where_, where);
  if (stamp.shard.count != first_->shard.count || stamp.pieces != first_->pieces)
    fail("{} is of {} shards and {} pieces of work, {} of {} and {}", first_where_, first_->shard.count,
         first_->pieces, where, stamp.shard.count, stamp.pieces);
}

void Merge::read(std::int32_t file) {
  const std::string& path = paths_[static_cast<std::size_t>(file)];
  LineReader lines(path);
  std::int64_t offset = 0;
  while (const auto line = lines.next()) {
    const auto length = static_cast<std::int32_t>(line->text.size());
    const std::int64_t begin = offset;
    offset += length + 1;
    if (line->text.empty()) continue;
    const std::string at = fmt::format("{}:{}", path, line->number);
    const std::optional<Json> row = parse_row(line->text);
    if (!row && !line->whole && !parse_json(line->text)) break;  // torn
    if (!row) fail("{}: not a result row (schema {})", at, result_schema);
    JsonFields fields(*row, at);
    const std::string status = fields.need_text("status");
    if (fields.find("shard") == nullptr)
      fail("{}: this row is of no shard; a merge takes what runs with --shard I/N wrote", at);
    const std::string text = fields.need_text("shard");
    const auto stamp = ShardStamp::parse(text);
    if (!stamp || line->text.find(fmt::format("{}{}\"", stamp_key, text)) == std::string::npos)
      fields.wrong("shard", "is not what --shard writes");
    compare(*stamp, at);
    places_.push_back({stamp->piece, begin, static_cast<std::int32_t>(stamp->part),
                       static_cast<std::int32_t>(stamp->parts), length, file, line->number,
                       status == "error"});
  }
}

std::string Merge::line_of(const Place& place) {
  std::ifstream& file = files_[static_cast<std::size_t>(place.file)];
  std::string line(static_cast<std::size_t>(place.length), ' ');
  file.clear();
  if (!file.seekg(place.offset) || !file.read(line.data(), place.length))
    fail("{}: has changed while it was merged", where(place));
  return line;
}

/// The row to keep of those of one place.
Place Merge::chosen(std::span<const Place> same) {
  const Place* best = &same[0];
  for (const Place& one : same)
    if (best->failed && !one.failed) best = &one;
  if (same.size() == 1) return *best;
  const Json kept = lasting(*parse_json(line_of(*best)));
  for (const Place& one : same) {
    if (&one == best || one.failed) continue;
    if (lasting(*parse_json(line_of(one))) != kept)
      fail("{} and {} are rows of the same piece of work and differ", where(*best), where(one));
  }
  merged_.duplicates += static_cast<std::int64_t>(same.size()) - 1;
  return *best;
}

Merged Merge::run(const std::function<void(std::string_view)>& write) {
  for (std::size_t n = 0; n < paths_.size(); ++n) read(static_cast<std::int32_t>(n));
  if (places_.empty()) fail("{}: no result rows", paths_.front());
  std::stable_sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) {
    return a.piece != b.piece ? a.piece < b.piece : a.part < b.part;
  });
  for (const std::string& path : paths_) files_.emplace_back(path, std::ios::binary);
  merged_.pieces = first_->pieces;
  merged_.shards = first_->shard.count;
  const auto missing = [&](std::int64_t piece) { merged_.holes[piece % merged_.shards].push_back(piece); };
  std::int64_t expected = 0;
  for (auto next = places_.begin(); next != places_.end(); ++expected) {
    const std::int64_t piece = next->piece;
    for (; expected < piece; ++expected) missing(expected);
    std::int32_t parts = 0;
    const std::int32_t of = next->parts;
    while (next != places_.end() && next->piece == piece) {
      if (next->parts != of) fail("{}: of {} rows here, of {} elsewhere", where(*next), next->parts, of);
      const auto end = std::find_if(next, places_.end(), [&](const Place& other) {
        return other.piece != piece || other.part != next->part;
      });
      const Place kept = chosen({next, end});
      std::string line = line_of(kept);
      const std::size_t stamp = line.find(stamp_key), value = stamp + stamp_key.size();
      line.erase(stamp, line.find('"', value) + 1 - stamp);
      write(line + "\n");
      ++parts;
      ++merged_.rows;
      merged_.failed += kept.failed;
      next = end;
    }
    if (parts < of) missing(piece);
  }
  for (; expected < merged_.pieces; ++expected) missing(expected);
  return std::move(merged_);
}

}  // namespace

Merged merge_rows(const std::vector<std::string>& paths, const std::function<void(std::string_view)>& write) {
  return Merge(paths).run(write);
}

std::vector<std::string> hole_lines(const Merged& merged) {
  std::vector<std::string> lines;
  for (const auto& [shard, pieces] : merged.holes) {
    const std::int64_t all = (merged.pieces - shard + merged.shards - 1) / merged.shards;
    if (std::ssize(pieces) == all) {
      lines.push_back(fmt::format("shard {}/{} is missing", shard, merged.shards));
      continue;
    }
    constexpr std::size_t shown = 8;
    std::string names;
    for (std::size_t n = 0; n < std::min(pieces.size(), shown); ++n)
      names += fmt::format("{}{}", n == 0 ? "" : ", ", pieces[n]);
    lines.push_back(fmt::format("shard {}/{} lacks {} of its {} pieces of work: {}{}", shard, merged.shards,
                                pieces.size(), all, names, pieces.size() > shown ? ", ..." : ""));
  }
  return lines;
}

}  // namespace anchor
