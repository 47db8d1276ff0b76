#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace anchor::h5 {

/// Where the value of a scalar attribute lies in the file, so that it can be overwritten in place: the
/// library would rewrite the whole header. `address` is that of the object's header, which must be of the
/// earliest format (version 1), as dumps are written. Source: "HDF5 File Format Specification 2.0", IV.A.
std::optional<std::int64_t> find_value(int descriptor, std::uint64_t address, const std::string& attribute,
                                       std::uint64_t bytes, const std::string& where);

}  // namespace anchor::h5
