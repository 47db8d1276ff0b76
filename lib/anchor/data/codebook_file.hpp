#pragma once

#include <span>
#include <string>

#include "anchor/base/codebook.hpp"

namespace anchor {

/// Writes a codebook as HDF5, `format = "anchor-codebook"` (data/CODEBOOKS.md), under PATH.part until it is
/// whole. Data errors: the file cannot be written. An output that is one of `inputs` is a usage error.
void write_codebook(const std::string& path, const Codebook& codebook,
                    std::span<const std::string> inputs = {});

/// Reads one; every data error names the file, the object and what is expected there. Datasets have all of
/// the bytes that their shapes need, and every number is finite.
Codebook read_codebook(const std::string& path);

}  // namespace anchor
