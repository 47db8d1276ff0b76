#pragma once

#include <string>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/report/table.hpp"
#include "anchor/tuning/method_front.hpp"
#include "recall/recall.hpp"

namespace anchor::recall {

/// One answer of a method, for the tables.
struct FrontAnswer {
  std::string name;
  KnobsBy by = KnobsBy::global;
  Target target;
  ResultRow row;  ///< scope all
};

/// Makes the rows of --pareto.
class FrontRows {
 public:
  FrontRows(const Options& options, const DumpReader& reader, const Engine& engine,
            std::vector<GroupSelection> groups);

  /// The method's curve under one knob for all heads.
  ResultRow curve(const MethodFront& front) const;
  /// What a choice of knobs needs for a target: over all heads, then layer by layer.
  std::vector<ResultRow> answer(const MethodFront& front, KnobsBy by, const Target& target,
                                const std::optional<HeadsAt>& chosen) const;

  static std::vector<Column> columns();  ///< of files

 private:
  ResultRow row_of(const MethodFront& front, const char* kind) const;
  ResultRow answer_row(const MethodFront& front, KnobsBy by, const Target& target,
                       const std::optional<HeadsAt>& chosen, std::optional<int> layer) const;
  void identify(ResultRow& row, std::vector<std::uint64_t> content) const;

  const Options& options_;
  const DumpReader& reader_;
  const Engine& engine_;
  std::vector<GroupSelection> groups_;
};

/// Tables for people: a line per method, a column per target.
void print_fronts(const std::vector<FrontAnswer>& lines);

}  // namespace anchor::recall
