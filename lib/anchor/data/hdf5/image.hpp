#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "anchor/data/hdf5/node.hpp"

namespace anchor::h5 {

/// The C++ type is the stored type; strings are UTF-8 of variable length.
struct NewAttribute {
  std::string name;
  std::variant<std::string, std::uint8_t, std::int64_t, std::uint64_t, double> value;
};

/// A group, or with an element type a dataset: contiguous, uncompressed, its space reserved. A dataset's
/// bytes are either all here or left to be written later.
struct NewObject {
  std::string path;  ///< "/" is the root; parents come first
  std::vector<NewAttribute> attributes;
  Element element = Element::other;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

/// Writes the file with these objects through a descriptor: all of its metadata and no tensor. Nothing that
/// a reader takes for a file is there before everything is: the first page comes last. libhdf5 works in a
/// child process on anonymous memory and never sees the descriptor.
void write_image(const std::vector<NewObject>& objects, int descriptor);

/// True if a file is what a writer leaves that died in write_image(): nothing in its first page.
bool is_unbegun(int descriptor);

/// Writes all bytes at an offset.
void write_range(int descriptor, std::int64_t offset, std::span<const std::byte> bytes);

/// Everything written so far is on the disk when this returns.
void sync(int descriptor);

}  // namespace anchor::h5
