#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace anchor {

/// What a merge of shards found.
struct Merged {
  std::int64_t rows = 0;        ///< that were written
  std::int64_t duplicates = 0;  ///< that were dropped: equal to another
  std::int64_t failed = 0;      ///< written rows without a result
  std::int64_t pieces = 0;      ///< of the whole run
  std::int64_t shards = 0;
  std::map<std::int64_t, std::vector<std::int64_t>> holes;  ///< by shard: pieces with missing rows
};

/// Puts the rows of a sharded run (tools with --shard) together: in the order of one process, each once,
/// without their stamps. `write` gets lines with their newline. Rows of one place that say the same apart
/// from when, where and how fast count once; one without a result gives way to one that has it. A torn last
/// line is left out. Memory is some 60 bytes a row: lines stay in their files, which are read twice.
///
/// Data errors: a row without a stamp, rows of different requests or numbers of shards, two rows of one place
/// that differ.
Merged merge_rows(const std::vector<std::string>& paths, const std::function<void(std::string_view)>& write);

/// "shard 1/4 lacks 3 of 150 pieces: 17, 21, 595", a line for each shard with holes.
std::vector<std::string> hole_lines(const Merged& merged);

}  // namespace anchor
