#pragma once

#include <memory>

#include "anchor/engine/engine.hpp"

namespace anchor {

/// The engine on this machine's cores.
std::unique_ptr<Engine> make_cpu_engine();
/// The same planners with float64 executors and masses straight from the definitions: slow, for checking the
/// others.
std::unique_ptr<Engine> make_reference_engine();

}  // namespace anchor
