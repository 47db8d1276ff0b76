#include "cli/dump_stream.hpp"

#include <fmt/format.h>

#include <optional>

#include "anchor/base/parallel.hpp"
#include "cli/progress.hpp"

namespace anchor::cli {

DumpStream open_stream(const CommonOptions& options, std::int64_t group_bytes, bool in_order) {
  set_threads(options.threads);
  const auto line = std::make_shared<std::optional<Progress>>();
  const auto show = [line, &options](const StreamProgress& progress) {
    if (progress.done == 0) line->emplace(progress.what, progress.total, options.quiet);
    (*line)->update(progress.done, fmt::format("layer {}, {}", progress.layer, progress.rates()));
    if (progress.done < progress.total) return;
    line->reset();
    if (options.verbose > 0)
      options.note(fmt::format("{}s: {} done, {}", progress.what, progress.total, progress.rates()));
  };
  return DumpStream({.device = options.device,
                     .memory = options.memory_limit(),
                     .group_bytes = group_bytes,
                     .in_order = in_order,
                     .progress = show});
}

}  // namespace anchor::cli
