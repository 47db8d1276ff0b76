#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// A thin layer over the HDF5 C library. Every failure is an anchor::Error that names the file and the
/// object; HDF5's own error output is silenced. Only hdf5.cpp sees hdf5.h.
namespace anchor::h5 {

/// A library identifier that closes itself.
class Handle {
 public:
  using Close = int (*)(std::int64_t);
  Handle() = default;
  Handle(std::int64_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept { swap(other); }
  Handle& operator=(Handle&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  std::int64_t get() const { return id_; }
  std::int64_t release() { return std::exchange(id_, -1); }

 private:
  void swap(Handle& other) {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
  }
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

/// Element types of the datasets this project stores. Anything else reads as `other`.
enum class Element : std::uint8_t { f32, f16, bf16, u16, i32, other };

/// A group or dataset: what carries attributes.
class Object {
 public:
  /// "FILE: /path/in/file", the start of every message.
  const std::string& name() const { return name_; }

  /// Attributes; nullopt where there is none. One of another type is an error. Strings may be of fixed or
  /// variable length, integers and truth values of any width.
  std::optional<std::string> text(const char* attribute) const;
  std::optional<std::int64_t> integer(const char* attribute) const;
  std::optional<std::uint64_t> unsigned_integer(const char* attribute) const;
  std::optional<double> real(const char* attribute) const;

  /// Creates or replaces an attribute; the C++ type is the stored type, strings are UTF-8 of variable length.
  void set(const char* attribute, const std::string& value);
  void set(const char* attribute, std::uint8_t value);
  void set(const char* attribute, std::int64_t value);
  void set(const char* attribute, std::uint64_t value);
  void set(const char* attribute, double value);

 protected:
  Object(Handle handle, std::string name) : handle_(std::move(handle)), name_(std::move(name)) {}
  Handle handle_;
  std::string name_;
};

class Dataset : public Object {
 public:
  Dataset(Handle handle, std::string name);

  const std::vector<std::int64_t>& shape() const { return shape_; }
  Element element() const { return element_; }
  /// The stored type in words, for messages: "float, 8 bytes".
  std::string type_text() const;
  /// "contiguous", "chunked", "chunked, deflate", …
  std::string layout_text() const;
  /// Bytes on disk.
  std::uint64_t stored_bytes() const;
  /// First byte of the data in the file; nullopt unless they are one unfiltered range.
  std::optional<std::int64_t> file_offset() const;

  /// Reads or writes the box [start, start + count) without any conversion. `bytes` has exactly its size.
  void read(std::span<const std::int64_t> start, std::span<const std::int64_t> count,
            std::span<std::byte> bytes) const;
  void write(std::span<const std::int64_t> start, std::span<const std::int64_t> count,
             std::span<const std::byte> bytes);

 private:
  std::vector<std::int64_t> shape_;
  Element element_ = Element::other;
};

class Group : public Object {
 public:
  Group(Handle handle, std::string name, std::string file);

  bool has(const std::string& child) const;
  std::vector<std::string> children() const;  ///< sorted by name
  Group group(const std::string& child) const;
  Dataset dataset(const std::string& child) const;
  Group create_group(const std::string& child);
  /// Contiguous, uncompressed, not filled: every element must be written.
  Dataset create_dataset(const std::string& child, Element element, const std::vector<std::int64_t>& shape);
  void remove(const std::string& child);

 protected:
  std::string child_name(const std::string& child) const;
  std::string file_;
};

/// An open file and its root group.
class File : public Group {
 public:
  static File create(const std::string& path);
  static File open(const std::string& path, bool writable = false);
  /// Everything written so far reaches the file, which then is readable as it stands.
  void flush();
  /// Flushes and closes; a failure is an error, unlike in the destructor.
  void close();
  /// Leaves the file as the last flush left it (apart from bytes nothing refers to). HDF5 cannot discard what
  /// it has cached, so the identifier is given up: for a writer that met an error, shortly before the program
  /// ends.
  void abandon();

 private:
  using Group::Group;
};

}  // namespace anchor::h5
