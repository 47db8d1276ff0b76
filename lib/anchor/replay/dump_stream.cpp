#include "anchor/replay/dump_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "anchor/attention/score_range.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/devices.hpp"

namespace anchor {
namespace {

constexpr std::int64_t default_read_ahead = std::int64_t{1} << 30;
constexpr std::int64_t cpu_work = std::int64_t{2} << 30;  // what engines that share the CPU may hold

std::int64_t stored_bytes(const StreamItem& item) {
  const LayerInfo& info = item.reader->layer(item.group.layer);
  const Geometry& g = info.geometry;
  return (g.q_heads / g.kv_heads * g.q_len + 2 * g.kv_len) * g.head_dim *
         static_cast<std::int64_t>(size_of(info.dtype));
}

LoadedGroup load(const StreamItem& item, std::pmr::memory_resource* memory) {
  LoadedGroup loaded;
  try {
    loaded.group = read_finite_group(*item.reader, item.group.layer, item.group.kv_head, 0, memory);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    loaded.error = error.what();
  }
  return loaded;
}

}  // namespace

std::vector<StreamItem> stream_items(const DumpReader& reader, const std::vector<GroupSelection>& groups) {
  std::vector<StreamItem> items;
  for (const GroupSelection& group : groups) items.push_back({&reader, group});
  return items;
}

KvGroup read_finite_group(const DumpReader& reader, int layer, int kv_head, std::int64_t tokens,
                          std::pmr::memory_resource* memory) {
  KvGroup group = reader.read_group(layer, kv_head, tokens, memory);
  if (const std::string problem = first_non_finite(group); !problem.empty())
    fail("{}: {}", reader.path(), problem);
  check_scores(group);
  return group;
}

std::string StreamProgress::rates() const {
  const double spent = seconds + 1e-9;
  return fmt::format("{:.1f} GB/s, {:.1f} heads/s", static_cast<double>(bytes) / 1e9 / spent,
                     static_cast<double>(heads) / spent);
}

DumpStream::DumpStream(StreamSettings settings) : settings_(std::move(settings)) {
  const std::int64_t limit = settings_.memory, group = settings_.group_bytes;
  const int per_device = limit == 0 || limit >= 3 * group ? 2 : 1;
  const auto fitting = std::max<std::int64_t>(1, cpu_work / std::max<std::int64_t>(1, group));
  const int per_cpu =
      static_cast<int>(std::clamp<std::int64_t>(threads() / 4, 1, std::min<std::int64_t>(4, fitting)));
  const bool single = settings_.in_order || per_device == 1;
  engines_ = make_engines(settings_.device, settings_.in_order ? 1 : per_device, single ? 1 : per_cpu);
  if (settings_.in_order && engines_.size() > 1)
    fail_usage("--device {}: KV groups depend on each other here; name one device", settings_.device);
  const std::int64_t work = group * static_cast<std::int64_t>(engines_.size());
  if (limit > 0 && work > limit) {
    fail("{} devices need about {} MiB of host memory, --memory allows {} MiB", engines_.size(), work >> 20,
         limit >> 20);
  }
  read_ahead_ = limit == 0 ? default_read_ahead : limit - work;
}

void DumpStream::run(const std::string& what, std::span<const StreamItem> items, const Steps& steps) const {
  StreamProgress progress{.what = what, .total = static_cast<std::int64_t>(items.size())};
  std::atomic<std::int64_t> bytes = 0;
  const auto start = std::chrono::steady_clock::now();
  const auto item = [&](std::int64_t n) -> const StreamItem& { return items[static_cast<std::size_t>(n)]; };
  const auto report = [&] {
    if (!settings_.progress) return;
    progress.bytes = bytes;
    progress.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    settings_.progress(progress);
  };
  report();
  GroupStream(engines_, read_ahead_)
      .run({.count = progress.total,
            .bytes = [&](std::int64_t n) { return stored_bytes(item(n)); },
            .wanted =
                [&](std::int64_t n) { return !steps.wanted || steps.wanted(static_cast<std::size_t>(n)); },
            .load =
                [&](std::int64_t n, std::pmr::memory_resource* memory) {
                  LoadedGroup loaded = load(item(n), memory);
                  bytes += stored_bytes(item(n));
                  return loaded;
                },
            .compute =
                [&](std::int64_t n, Engine& engine, const LoadedGroup& loaded) {
                  steps.compute(static_cast<std::size_t>(n), engine, loaded);
                },
            .finish =
                [&](std::int64_t n) {
                  if (steps.finish) steps.finish(static_cast<std::size_t>(n));
                  progress.heads += static_cast<std::int64_t>(item(n).group.heads.size());
                  progress.done = n + 1;
                  progress.layer = item(n).group.layer;
                  report();
                }});
}

}  // namespace anchor
