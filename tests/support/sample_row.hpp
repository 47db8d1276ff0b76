#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "anchor/rows/result_row.hpp"

namespace anchor::test {

/// A small row of one head, with its unit.
inline ResultRow sample_row(int head) {
  ResultRow row;
  row.kind = "recall";
  row.layer = 3;
  row.head = head;
  row.method = "anchor";
  row.params = {{"theta", HUGE_VAL}, {"block", 128.0}, {"mode", std::string("clean")}};
  row.path = "cpu";
  row.density = 1.0 / 3;
  row.mass_recall = 0.875;
  row.unit = unit_id(row, std::vector<std::uint64_t>{1, 2, 3});
  return row;
}

}  // namespace anchor::test
