#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// One of several runs that share a request: this one does every `count`-th piece of work, from `index` on.
struct Shard {
  std::int64_t index = 0, count = 1;

  bool takes(std::int64_t piece) const { return piece % count == index; }
};

/// Reads "I/N" (I from 0), or "auto": SLURM_ARRAY_TASK_ID of SLURM_ARRAY_TASK_COUNT where there is an array
/// (counted from SLURM_ARRAY_TASK_MIN), else SLURM_PROCID of SLURM_NTASKS. Nothing is taken from the
/// environment unless it says auto: a tool in a batch job would otherwise do a part of its work unasked.
/// Usage errors name `flag`: another form, an index that is not below the count, an environment without those
/// numbers.
Shard parse_shard(std::string_view text, std::string_view flag);

/// Where a shard's row stands in the whole run: field `shard` of its row, so that a merge knows the order and
/// what is missing.
struct ShardStamp {
  Shard shard;
  std::int64_t piece = 0, pieces = 0;  ///< of all shards' work, in the order of one process
  std::int64_t part = 0, parts = 0;    ///< the piece's rows
  std::string request;                 ///< 16 hex digits of what was asked of all shards together

  std::string text() const;  ///< "1/4 17/600 0/2 0123456789abcdef"
  static std::optional<ShardStamp> parse(std::string_view text);
};

/// Stamps the rows of a piece of work in their order.
void stamp_shard(std::span<ResultRow> rows, ShardStamp stamp);

}  // namespace anchor
