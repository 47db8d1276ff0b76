#pragma once

#include <memory>

#include "anchor/base/rotation.hpp"
#include "anchor/data/hdf5/file.hpp"
#include "anchor/data/qkv_dump.hpp"

namespace anchor {

/// How positions turned the queries and keys of a layer of a dump: the stored `rope_inv_freq`; without it
/// what the root's rope_json says, if that is of the kind default or linear. nullptr for synthetic heads and
/// for heads from before RoPE, which nothing turned. Where the file does not tell, the rotation is unknown
/// and names the field that is missing or cannot be used.
std::shared_ptr<const Rotation> layer_rotation(const h5::File& file, const h5::Node& layer,
                                               const DumpHeader& header, const LayerInfo& info);

/// The frequencies that a rope_json of the kind default or linear stands for.
Rotation rotation_from_json(const std::string& rope_json, int head_dim);

}  // namespace anchor
