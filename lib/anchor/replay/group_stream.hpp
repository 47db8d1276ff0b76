#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>

#include "anchor/base/kv_group.hpp"
#include "anchor/engine/engine.hpp"

namespace anchor {

/// A KV group as it was read, or why it could not be.
struct LoadedGroup {
  KvGroup group;
  std::string error;
};

/// Work on many KV groups, numbered from 0: reader threads load groups ahead into memory that uploads fast,
/// one thread per engine takes the next loaded group, and the calling thread takes results in order. Any
/// number of engines gives the same results in the same order.
class GroupStream {
 public:
  struct Steps {
    std::int64_t count = 0;
    /// Host memory that a loaded group takes.
    std::function<std::int64_t(std::int64_t)> bytes;
    /// Called for one group at a time, in order: false = it is finished already and need not be read.
    std::function<bool(std::int64_t)> wanted;
    /// Reads it; called by several threads at a time. Data errors belong into the result.
    std::function<LoadedGroup(std::int64_t, std::pmr::memory_resource*)> load;
    /// Called on the engine's thread.
    std::function<void(std::int64_t, Engine&, const LoadedGroup&)> compute;
    /// Called on the calling thread, in order, once a group was computed (or was not wanted).
    std::function<void(std::int64_t)> finish;
  };

  /// Groups that are loaded and not yet computed take at most `read_ahead` bytes, unless one alone takes
  /// more.
  GroupStream(std::span<const std::unique_ptr<Engine>> engines, std::int64_t read_ahead)
      : engines_(engines), read_ahead_(read_ahead) {}

  /// Returns when all groups are finished. An interrupt, or the first exception of any step, stops all
  /// threads and is thrown here.
  void run(const Steps& steps) const;

 private:
  std::span<const std::unique_ptr<Engine>> engines_;
  std::int64_t read_ahead_;
};

}  // namespace anchor
