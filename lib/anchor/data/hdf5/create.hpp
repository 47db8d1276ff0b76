#pragma once

#include "anchor/data/hdf5/image.hpp"

namespace anchor::h5 {

/// Runs in a child: makes the objects in the file behind a descriptor, in the earliest format.
void create(const std::vector<NewObject>& objects, int descriptor);

}  // namespace anchor::h5
