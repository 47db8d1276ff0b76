#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "anchor/data/hdf5/message.hpp"

namespace anchor::h5 {

/// Element types of the datasets this project stores. Anything else reads as `other`.
enum class Element : std::uint8_t { f32, f16, bf16, u16, i32, other };
/// Bytes of one; 0 for `other`.
std::uint64_t size_of(Element element);

/// The value of an attribute that cannot be used, with the reason: "must hold one value".
struct Unusable {
  std::string reason;
};
using Value = std::variant<std::string, std::int64_t, std::uint64_t, double, Unusable>;

/// What a dataset looks like and where its bytes lie.
struct DatasetLayout {
  std::vector<std::int64_t> shape;
  Element element = Element::other;
  std::string type_text;               ///< the stored type in words, for messages: "float of 8 bytes"
  std::string text;                    ///< "contiguous", "chunked", "chunked, deflate", …
  std::uint64_t stored_bytes = 0;      ///< on disk
  std::optional<std::int64_t> offset;  ///< first byte in the file, if the data are one unfiltered range
  std::uint64_t chunk_bytes = 0;       ///< of one chunk, unpacked; 0 = not chunked
  std::uint64_t chunks = 0;            ///< stored ones
  std::uint64_t chunks_needed = 0;     ///< by the shape
  bool deflated = false;
};

/// A group or a dataset as a child process described it: plain data, without any tie to libhdf5. Every
/// failure is an anchor::Error that names the file and the object.
class Node {
 public:
  /// What is not reached by the depth that was asked for is `unseen`: its name is known, no more.
  enum class Kind : std::uint8_t { group, dataset, unusable, unseen };

  std::string name;  ///< "FILE: /path/in/file", the start of every message
  Kind kind = Kind::unusable;
  std::string error;          ///< why it is unusable
  std::uint64_t address = 0;  ///< of its header in the file
  std::map<std::string, Value> attributes;
  std::map<std::string, Node> children;
  DatasetLayout layout;

  /// Attributes; nullopt where there is none. One of another type is an error. Strings may be of fixed or
  /// variable length, integers and truth values of any width.
  std::optional<std::string> text(const std::string& attribute) const;
  std::optional<std::int64_t> integer(const std::string& attribute) const;
  std::optional<std::uint64_t> unsigned_integer(const std::string& attribute) const;
  std::optional<double> real(const std::string& attribute) const;

  /// A path may have several steps: "ref/out".
  bool has(const std::string& path) const;
  const Node& group(const std::string& path) const;
  const Node& dataset(const std::string& path) const;
  /// Fails unless this is a usable group or dataset.
  const Node& require(Kind wanted) const;

  void put(Message& message) const;
  /// `name` is the file's, with ": " and the path behind it.
  static Node take(Message& message, const std::string& name, int depth);

 private:
  const Node* find(const std::string& path) const;
  const Value* value(const std::string& attribute) const;
};

}  // namespace anchor::h5
