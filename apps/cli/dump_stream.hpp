#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "anchor/experiment/group_stream.hpp"
#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"

namespace anchor::cli {

/// The selected heads of one KV group of one dump.
struct StreamItem {
  const DumpReader* reader = nullptr;
  GroupSelection group;
};
/// All selected groups of a dump.
std::vector<StreamItem> stream_items(const DumpReader& reader, const std::vector<GroupSelection>& groups);

/// Streams KV groups through the engines that --device names, within --memory, with a progress line that
/// shows the rates.
class DumpStream {
 public:
  /// `group_bytes`: host memory that work on the largest group needs (check_memory). `in_order`: one engine
  /// computes one group after the other; a usage error if --device names several.
  DumpStream(const CommonOptions& options, std::int64_t group_bytes, bool in_order = false);

  /// What all engines have in common.
  const Engine& engine() const { return *engines_[0]; }

  struct Steps {
    std::function<bool(std::size_t)> wanted;  ///< in order, before the item is read
    /// On the engine's thread; what is wrong with the item's data was found and is the LoadedGroup's error.
    std::function<void(std::size_t, Engine&, const LoadedGroup&)> compute;
    std::function<void(std::size_t)> finish;  ///< in order, on the calling thread
  };
  /// `what` starts the progress line.
  void run(const std::string& what, std::span<const StreamItem> items, const Steps& steps) const;

 private:
  const CommonOptions& options_;
  std::vector<std::unique_ptr<Engine>> engines_;
  std::int64_t read_ahead_;
};

}  // namespace anchor::cli
