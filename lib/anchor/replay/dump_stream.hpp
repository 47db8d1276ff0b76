#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "anchor/replay/group_stream.hpp"
#include "anchor/replay/head_selection.hpp"

namespace anchor {

/// The selected heads of one KV group of one dump.
struct StreamItem {
  const DumpReader* reader = nullptr;
  GroupSelection group;
};
/// All selected groups of a dump.
std::vector<StreamItem> stream_items(const DumpReader& reader, const std::vector<GroupSelection>& groups);

/// Reads a KV group with all its tokens, or the first so many (DumpReader::read_group()). A value that is not
/// finite is a data error that names the dump, and so are values so large that scores may overflow float.
KvGroup read_finite_group(const DumpReader& reader, int layer, int kv_head, std::int64_t tokens = 0,
                          std::pmr::memory_resource* memory = nullptr);

/// How far a stream is.
struct StreamProgress {
  std::string what;                  ///< as given to run()
  std::int64_t done = 0, total = 0;  ///< items
  int layer = 0;                     ///< of the item that was finished last
  std::int64_t bytes = 0;            ///< read so far
  std::int64_t heads = 0;            ///< finished so far
  double seconds = 0;                ///< since the start

  /// "1.2 GB/s, 57.8 heads/s"
  std::string rates() const;
};

struct StreamSettings {
  std::string device = "auto";  ///< as for make_engines()
  std::int64_t memory = 0;      ///< host memory for groups read ahead and worked on, bytes; 0 = no limit
  /// Host memory that work on the largest group needs (check_memory()).
  std::int64_t group_bytes = 0;
  /// One engine computes one group after the other: groups depend on each other. A usage error if the device
  /// names several.
  bool in_order = false;
  /// Called on the thread of run(): before the first item, and after each item is finished.
  std::function<void(const StreamProgress&)> progress = nullptr;
};

/// Streams KV groups of dumps through the engines of a device, within a bound of memory.
class DumpStream {
 public:
  explicit DumpStream(StreamSettings settings);

  /// What all engines have in common.
  const Engine& engine() const { return *engines_[0]; }

  struct Steps {
    std::function<bool(std::size_t)> wanted;  ///< in order, before the item is read; empty: all are
    /// On the engine's thread; what is wrong with the item's data was found and is the LoadedGroup's error.
    std::function<void(std::size_t, Engine&, const LoadedGroup&)> compute;
    std::function<void(std::size_t)> finish;  ///< in order, on the calling thread; may be empty
  };
  /// `what` names the work in the progress.
  void run(const std::string& what, std::span<const StreamItem> items, const Steps& steps) const;

 private:
  StreamSettings settings_;
  std::vector<std::unique_ptr<Engine>> engines_;
  std::int64_t read_ahead_;
};

}  // namespace anchor
