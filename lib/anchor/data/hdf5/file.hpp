#pragma once

#include <memory>
#include <span>
#include <string>

#include "anchor/data/hdf5/node.hpp"

namespace anchor::h5 {

/// An HDF5 file that may be damaged or hostile. libhdf5 reads it in a child process (child_process.hpp),
/// which sends back plain descriptions; what lies in one range is read here, through the one descriptor that
/// was checked and locked. Any thread may call.
///
/// Why a child and not a newer library: Debian 12 has HDF5 1.10.8 alone, wheels carry the library without
/// headers, and no release is without known crashes. A strict parser of our own would have to follow two
/// generations of object headers and five chunk indices to read what h5py writes.
class File {
 public:
  /// Refuses what is not a regular HDF5 file, and one that another process has locked for writing.
  explicit File(const std::string& path);
  /// The same on a descriptor that the caller has locked; it is duplicated. `name` is for messages.
  File(int descriptor, const std::string& name);
  ~File();

  const std::string& name() const { return name_; }
  int descriptor() const { return descriptor_; }

  /// The object at a path ("/", "layers/007") with what is below it, to `depth`. A crash or endless loop of
  /// the library is a data error; the next call starts anew.
  Node describe(const std::string& path, int depth = 0) const;

  /// Fails unless a dataset's bytes are there: one whole range inside the file, or all of its chunks.
  void require_stored(const Node& dataset) const;

  /// Reads the box [start, start + count) without conversion; `bytes` has exactly its size.
  void read(const Node& dataset, std::span<const std::int64_t> start, std::span<const std::int64_t> count,
            std::span<std::byte> bytes) const;

  /// Ends the child; it comes back when something needs it.
  void rest() const;

 private:
  struct Helper;
  void inspect_file();
  void read_through_child(const Node& dataset, std::span<std::int64_t> start, std::span<std::int64_t> count,
                          std::span<std::byte> bytes) const;

  std::string name_;
  int descriptor_ = -1;
  std::uint64_t file_bytes_ = 0;
  std::unique_ptr<Helper> helper_;
};

/// Fills `bytes` from a byte range of a file.
void read_range(int descriptor, std::int64_t offset, std::span<std::byte> bytes, const std::string& where);

}  // namespace anchor::h5
