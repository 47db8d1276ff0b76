#pragma once

#include <cstdint>
#include <vector>

#include "anchor/base/kv_group.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// One layer at one length.
struct LayerTask {
  int layer = 0;
  std::int64_t tokens = 0;
};

/// Where the layers that are timed come from. All KV heads of a layer are one problem.
class LayerSource {
 public:
  virtual ~LayerSource() = default;

  const std::vector<LayerTask>& tasks() const { return tasks_; }  ///< lengths, and layers within each
  /// Model indices of the heads of every layer, in order.
  const std::vector<int>& heads() const { return heads_; }

  virtual Geometry geometry(const LayerTask& task) const = 0;
  virtual KvGroup load(const LayerTask& task) const = 0;
  /// A row of kind "bench" that names the data and shapes; the rest is the caller's.
  ResultRow row(const LayerTask& task) const;
  /// What identifies the data, for unit_id().
  virtual std::vector<std::uint64_t> content(const LayerTask& task) const = 0;

 protected:
  virtual void name(ResultRow& row, const LayerTask& task) const = 0;

  std::vector<LayerTask> tasks_;
  std::vector<int> heads_;
};

/// Appends some query heads of a KV group (indices in it) and its keys and values to a layer.
void append_group(KvGroup& layer, const KvGroup& group, const std::vector<int>& heads);

}  // namespace anchor
