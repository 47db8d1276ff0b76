#pragma once

#include <memory>

#include "anchor/engine/engine.hpp"

namespace anchor {

/// The engine on this machine's cores, on at most `share` threads; 0 = all of the setting
/// (base/parallel.hpp).
std::unique_ptr<Engine> make_cpu_engine(int share = 0);
/// The same planners with float64 executors and masses straight from the definitions: slow, for checking the
/// others.
std::unique_ptr<Engine> make_reference_engine();

}  // namespace anchor
