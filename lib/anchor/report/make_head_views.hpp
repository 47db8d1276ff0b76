#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/method/method_run.hpp"
#include "anchor/replay/head_selection.hpp"
#include "anchor/report/head_views.hpp"

namespace anchor {

/// Knob values that somebody chose for heads, with the words that say who.
struct KnobMarks {
  std::vector<std::string> why;
  std::map<std::pair<int, int>, std::vector<KnobMark>> of_heads;  ///< by layer and head
  std::vector<KnobMark> of_all;                                   ///< one knob for all heads

  void add(int layer, int head, double knob, const std::string& words);
  void add_for_all(double knob, const std::string& words);

 private:
  KnobMark mark(double knob, const std::string& words);
};

/// What the report shows of every selected head: where its attention lies, and what the method keeps of it at
/// every stop of a slider, exactly: from the head's critical values, or on engines that plan with numbers of
/// their own from a plan for every stop. Heads without marks start at the run's knob, which `otherwise`
/// explains. A method without an exact curve is shown at the run's own parameters. A KV group whose data are
/// bad has views that say so. `token_texts` may be empty. `progress` is called before each group with its
/// number and its selection.
HeadViews make_head_views(Engine& engine, const DumpReader& reader, const std::vector<GroupSelection>& groups,
                          const MethodRun& run, KnobMarks marks, const std::string& otherwise,
                          std::span<const std::string> token_texts,
                          const std::function<void(std::size_t, const GroupSelection&)>& progress);

}  // namespace anchor
