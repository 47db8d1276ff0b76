#pragma once

#include <string>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/report/table.hpp"
#include "recall/method_front.hpp"
#include "recall/recall.hpp"

namespace anchor::recall {

/// One answer of a method, for the tables.
struct FrontAnswer {
  std::string name;
  Choice choice = Choice::global;
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
  std::vector<ResultRow> answer(const MethodFront& front, Choice choice, const Target& target,
                                const std::optional<Chosen>& chosen) const;

  static std::vector<Column> columns();  ///< of files

 private:
  ResultRow row_of(const MethodFront& front, const char* kind) const;

  const Options& options_;
  const DumpReader& reader_;
  const Engine& engine_;
  std::vector<GroupSelection> groups_;
};

/// Tables for people: a line per method, a column per target.
void print_fronts(const std::vector<FrontAnswer>& lines);

}  // namespace anchor::recall
