#pragma once

#include <span>
#include <vector>

#include "anchor/report/table.hpp"
#include "anchor/timing/layer_timing.hpp"

namespace anchor::bench {

std::vector<Column> columns_for_eyes(std::span<const TimedMethod> methods);
std::vector<Column> columns_for_files();

}  // namespace anchor::bench
