#pragma once

#include <string>
#include <vector>

#include "anchor/data/transfer.hpp"

namespace anchor {

/// Everything that is wrong with a dump, one line each: what the reader could not make sense of, lengths that
/// contradict each other, checksums that do not match, NaN and infinity. Reads every byte, one head at a
/// time. `progress` is called before each tensor.
std::vector<std::string> verify_dump(const DumpReader& reader, const TransferProgress& progress);

}  // namespace anchor
