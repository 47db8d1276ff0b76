#pragma once

#include "anchor/replay/dump_stream.hpp"
#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"

namespace anchor::cli {

/// A stream through the engines that --device names, within --memory, with a progress line that shows the
/// rates (and with -v a last line that stays). `group_bytes`: what check_memory() found. `in_order`: see
/// StreamSettings. The options must outlive the stream.
DumpStream open_stream(const CommonOptions& options, std::int64_t group_bytes, bool in_order = false);

}  // namespace anchor::cli
