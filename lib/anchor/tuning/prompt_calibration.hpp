#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "anchor/method/method_run.hpp"
#include "anchor/replay/dump_stream.hpp"
#include "anchor/tuning/calibration.hpp"

namespace anchor {

/// One head after the calibration on one prompt.
struct CalibratedHead {
  double knob = 0;
  HeadReplay replay;  ///< the plan at that knob
  double out_l1 = 0;  ///< row_l1() of it: less than the error that was asked for, unless the knob is dense
};

/// The heads of one KV group after one prompt.
struct CalibratedGroup {
  std::size_t index = 0;   ///< among the selected groups
  std::size_t prompt = 0;  ///< among the dumps
  std::string error;       ///< why there is no result; the next prompt goes on with the knobs of the last
  std::vector<CalibratedHead> heads;
};

/// A published calibration (calibrate()) over several prompts, which are dumps of one model: every head
/// starts at the run's knob, and each prompt goes on where the one before it ended. `use` is called on the
/// calling thread, in the order of the groups, a group's prompts one after the other. The stream must be one
/// in order (StreamSettings::in_order). Usage errors: a method without such a rule, a start at or below its
/// floor.
void calibrate_prompts(const DumpStream& stream, std::span<const DumpReader* const> prompts,
                       const std::vector<GroupSelection>& groups, const MethodRun& run, double error,
                       const std::function<void(const CalibratedGroup&)>& use);

/// The rule's usage errors alone.
void check_calibration(const MethodRun& run);

}  // namespace anchor
