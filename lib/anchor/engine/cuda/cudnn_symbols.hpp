#pragma once

#include <string>

namespace anchor {

/// Why cuDNN cannot be called, or an empty string if it can: loads it on first use.
std::string cudnn_missing();

}  // namespace anchor
