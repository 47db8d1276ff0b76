#include "cli/dump_stream.hpp"

#include <atomic>
#include <chrono>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "cli/progress.hpp"

namespace anchor::cli {
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
    loaded.group = item.reader->read_group(item.group.layer, item.group.kv_head, 0, memory);
    if (const std::string problem = first_non_finite(loaded.group); !problem.empty())
      loaded.error = item.reader->path() + ": " + problem;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    loaded.error = error.what();
  }
  return loaded;
}

/// What has been read and finished so far, as rates.
class Rates {
 public:
  std::string text() const {
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count() + 1e-9;
    return fmt::format("{:.1f} GB/s, {:.1f} heads/s", static_cast<double>(bytes.load()) / 1e9 / seconds,
                       static_cast<double>(heads) / seconds);
  }
  std::atomic<std::int64_t> bytes = 0;
  std::int64_t heads = 0;

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

std::vector<StreamItem> stream_items(const DumpReader& reader, const std::vector<GroupSelection>& groups) {
  std::vector<StreamItem> items;
  for (const GroupSelection& group : groups) items.push_back({&reader, group});
  return items;
}

DumpStream::DumpStream(const CommonOptions& options, std::int64_t group_bytes, bool in_order)
    : options_(options) {
  set_threads(options.threads);
  const std::int64_t limit = options.memory_limit();
  const int per_device = limit == 0 || limit >= 3 * group_bytes ? 2 : 1;
  const auto fitting = std::max<std::int64_t>(1, cpu_work / std::max<std::int64_t>(1, group_bytes));
  const int per_cpu =
      static_cast<int>(std::clamp<std::int64_t>(threads() / 4, 1, std::min<std::int64_t>(4, fitting)));
  const bool single = in_order || per_device == 1;
  engines_ = make_engines(options.device, in_order ? 1 : per_device, single ? 1 : per_cpu);
  if (in_order && engines_.size() > 1)
    fail_usage("--device {}: KV groups depend on each other here; name one device", options.device);
  const std::int64_t work = group_bytes * static_cast<std::int64_t>(engines_.size());
  if (limit > 0 && work > limit) {
    fail("{} devices need about {} MiB of host memory, --memory allows {} MiB", engines_.size(), work >> 20,
         limit >> 20);
  }
  read_ahead_ = limit == 0 ? default_read_ahead : limit - work;
}

void DumpStream::run(const std::string& what, std::span<const StreamItem> items, const Steps& steps) const {
  Progress progress(what, static_cast<std::int64_t>(items.size()), options_.quiet);
  Rates rates;
  const auto item = [&](std::int64_t n) -> const StreamItem& { return items[static_cast<std::size_t>(n)]; };
  GroupStream(engines_, read_ahead_)
      .run({.count = static_cast<std::int64_t>(items.size()),
            .bytes = [&](std::int64_t n) { return stored_bytes(item(n)); },
            .wanted = [&](std::int64_t n) { return steps.wanted(static_cast<std::size_t>(n)); },
            .load =
                [&](std::int64_t n, std::pmr::memory_resource* memory) {
                  LoadedGroup loaded = load(item(n), memory);
                  rates.bytes += stored_bytes(item(n));
                  return loaded;
                },
            .compute =
                [&](std::int64_t n, Engine& engine, const LoadedGroup& loaded) {
                  steps.compute(static_cast<std::size_t>(n), engine, loaded);
                },
            .finish =
                [&](std::int64_t n) {
                  progress.clear();
                  steps.finish(static_cast<std::size_t>(n));
                  rates.heads += static_cast<std::int64_t>(item(n).group.heads.size());
                  progress.update(n + 1, fmt::format("layer {}, {}", item(n).group.layer, rates.text()));
                }});
  progress.clear();
  if (options_.verbose > 0) options_.note(fmt::format("{}s: {} done, {}", what, items.size(), rates.text()));
}

}  // namespace anchor::cli
