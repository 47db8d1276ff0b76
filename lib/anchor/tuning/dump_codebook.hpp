#pragma once

#include <functional>
#include <span>

#include "anchor/base/codebook.hpp"
#include "anchor/data/dump_reader.hpp"
#include "anchor/method/quantizer_fit.hpp"
#include "anchor/replay/head_selection.hpp"

namespace anchor {

/// What a codebook is fitted for.
struct CodebookRequest {
  QuantizerFit fit;
  bool windowed = true;  ///< keys before RoPE, queries turned to distance b; false: both as they are stored
  std::int64_t b = 2048;
  std::int64_t rows = 8;  ///< every so-manieth query row counts for how queries see keys
  bool force = false;     ///< also with fewer than four keys a code
};

/// One codebook for every KV head of the groups, which hold all KV heads of their layers, from the keys of
/// all dumps. `progress` is called after every group. Data errors: dumps of several models, rotary
/// frequencies that are not known, values that are not finite; a usage error: too many codes for the keys.
Codebook fit_codebook(std::span<const DumpReader* const> dumps, const std::vector<GroupSelection>& groups,
                      const CodebookRequest& request, const std::function<void(std::size_t)>& progress);

}  // namespace anchor
