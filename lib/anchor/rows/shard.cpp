#include "anchor/rows/shard.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

/// "A/B" with 0 <= A < B.
std::optional<std::pair<std::int64_t, std::int64_t>> part_of(std::string_view text) {
  std::int64_t first = 0, second = 0;
  const char* end = text.data() + text.size();
  const auto one = std::from_chars(text.data(), end, first);
  if (one.ec != std::errc{} || one.ptr == end || *one.ptr != '/') return {};
  const auto two = std::from_chars(one.ptr + 1, end, second);
  if (two.ec != std::errc{} || two.ptr != end || first < 0 || first >= second) return {};
  return std::pair{first, second};
}

std::int64_t variable(const char* name, std::string_view flag) {
  const char* text = std::getenv(name);
  std::int64_t value = 0;
  const std::string_view given = text == nullptr ? "" : text;
  const auto read = std::from_chars(given.data(), given.data() + given.size(), value);
  if (given.empty() || read.ec != std::errc{} || read.ptr != given.data() + given.size())
    fail_usage("{} auto: the environment's {} is {}", flag, name,
               given.empty() ? std::string("missing") : fmt::format("\"{}\", not a number", given));
  return value;
}

Shard shard_of_environment(std::string_view flag) {
  Shard shard;
  if (std::getenv("SLURM_ARRAY_TASK_ID") != nullptr) {
    shard.index = variable("SLURM_ARRAY_TASK_ID", flag);
    if (std::getenv("SLURM_ARRAY_TASK_MIN") != nullptr) shard.index -= variable("SLURM_ARRAY_TASK_MIN", flag);
    shard.count = variable("SLURM_ARRAY_TASK_COUNT", flag);
  } else {
    shard.index = variable("SLURM_PROCID", flag);
    shard.count = variable("SLURM_NTASKS", flag);
  }
  if (shard.index < 0 || shard.index >= shard.count)
    fail_usage("{} auto: the environment says shard {} of {}, which is none of 0 to {}", flag, shard.index,
               shard.count, shard.count - 1);
  return shard;
}

}  // namespace

Shard parse_shard(std::string_view text, std::string_view flag) {
  if (text == "auto") return shard_of_environment(flag);
  const auto part = part_of(text);
  if (!part) fail_usage("{} {}: write I/N with I from 0 to N - 1, such as 0/4, or auto", flag, text);
  return {part->first, part->second};
}

std::string ShardStamp::text() const {
  return fmt::format("{}/{} {}/{} {}/{} {}", shard.index, shard.count, piece, pieces, part, parts, request);
}

std::optional<ShardStamp> ShardStamp::parse(std::string_view text) {
  ShardStamp stamp;
  std::int64_t* const numbers[3][2] = {
      {&stamp.shard.index, &stamp.shard.count}, {&stamp.piece, &stamp.pieces}, {&stamp.part, &stamp.parts}};
  for (const auto& pair : numbers) {
    const auto blank = text.find(' ');
    const auto part = blank == std::string_view::npos ? std::nullopt : part_of(text.substr(0, blank));
    if (!part) return {};
    *pair[0] = part->first;
    *pair[1] = part->second;
    text.remove_prefix(blank + 1);
  }
  if (text.size() != 16 || text.find_first_not_of("0123456789abcdef") != std::string_view::npos) return {};
  if (!stamp.shard.takes(stamp.piece)) return {};
  stamp.request = text;
  return stamp;
}

void stamp_shard(std::span<ResultRow> rows, ShardStamp stamp) {
  stamp.parts = static_cast<std::int64_t>(rows.size());
  for (stamp.part = 0; stamp.part < stamp.parts; ++stamp.part)
    rows[static_cast<std::size_t>(stamp.part)].extra["shard"] = stamp.text();
}

}  // namespace anchor
