#pragma once

#include <memory>
#include <string>

#include "anchor/base/codebook.hpp"

namespace anchor {

/// The codebook of a file. It is read once and kept while the file stays the same, since a planner asks for
/// it with every chunk of query rows. Errors as read_codebook(); any thread may call.
std::shared_ptr<const Codebook> cached_codebook(const std::string& path);

}  // namespace anchor
