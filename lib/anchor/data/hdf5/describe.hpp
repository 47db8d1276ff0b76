#pragma once

#include <cstdint>
#include <string>

#include "anchor/data/hdf5/node.hpp"

namespace anchor::h5 {

/// Describes the object at a path ("/", "layers/007") of an open file with its attributes, and the objects
/// below it to `depth`. Only hard links are followed. What cannot be described says why.
Node describe(std::int64_t file, const std::string& path, int depth);

/// Opens the dataset at a path, every step a hard link.
std::int64_t open_dataset(std::int64_t file, const std::string& path);

}  // namespace anchor::h5
