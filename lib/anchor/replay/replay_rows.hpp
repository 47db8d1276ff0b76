#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anchor/replay/group_stream.hpp"
#include "anchor/replay/head_selection.hpp"

namespace anchor {

/// A method as it is asked for on one KV group.
struct MethodRequest {
  const Method* method = nullptr;
  PlanRequest request;
};

/// The rows of several methods on the selected heads of a KV group, kind "recall": head by head, and the
/// methods in order within each head.
class ReplayRows {
 public:
  /// `sparsity`: with statistics of the plans (sparsity_stats()). `context`: what else determines the rows of
  /// methods that carry patterns from head to head, such as the heads that come before. `metric_rows`: the
  /// query rows whose recall, errors and peaks are reported; all of them if empty. Densities are always the
  /// whole plan's.
  ReplayRows(GroupSelection group, std::vector<MethodRequest> methods, bool sparsity,
             std::vector<std::uint64_t> context = {}, const std::optional<RowRange>& metric_rows = {})
      : group_(std::move(group)),
        methods_(std::move(methods)),
        sparsity_(sparsity),
        context_(std::move(context)),
        metric_rows_(metric_rows) {}

  /// The rows before anything is computed, with their units.
  std::vector<ResultRow> templates(const DumpReader& reader, const Engine& engine,
                                   const std::vector<std::string>& argv) const;

  /// Replays every method on the loaded group and fills its rows. What is wrong with the group's data fails
  /// all rows, what only one method cannot take fails that method's; what is wrong with a request is thrown.
  void fill(std::span<ResultRow> rows, Engine& engine, const LoadedGroup& loaded) const;

 private:
  std::vector<std::uint64_t> identity(const DumpReader& reader, const MethodRequest& asked) const;
  void fill_method(std::size_t n, std::span<ResultRow> rows, Engine& engine, const Inputs& inputs,
                   DenseReference& dense, const KvGroup& group) const;
  std::vector<ScalarMap> measure_heads(std::size_t n, const KvGroup& group) const;

  GroupSelection group_;
  std::vector<MethodRequest> methods_;
  bool sparsity_;
  std::vector<std::uint64_t> context_;
  std::optional<RowRange> metric_rows_;
};

}  // namespace anchor
