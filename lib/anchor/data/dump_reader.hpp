#pragma once

#include <memory>

#include "anchor/data/qkv_dump.hpp"

namespace anchor {

/// How one tensor lies in the file.
struct StoredTensor {
  DType dtype = DType::f32;
  std::array<std::int64_t, 3> shape{};   ///< heads, rows, columns; ref/lse has one column
  std::string layout;                    ///< "contiguous", "chunked, deflate", …
  std::optional<std::int64_t> offset;    ///< first byte in the file, if the data are one plain range
  std::optional<std::uint64_t> xxh3_64;  ///< the stored checksum
  std::uint64_t stored_bytes = 0;        ///< on disk
};

/// Reads dumps. Only the rows that are asked for are read; heads of contiguous files may be read from several
/// threads.
class DumpReader {
 public:
  enum class Strictness {
    complete,          ///< refuse a dump whose writer did not finish
    allow_incomplete,  ///< take the layers that are complete
    inspect,           ///< take what can be understood and collect the rest in problems()
  };

  explicit DumpReader(std::string path, Strictness strictness = Strictness::complete);
  ~DumpReader();

  const std::string& path() const;
  const DumpHeader& header() const;
  bool complete() const;                         ///< the root attribute
  const std::vector<LayerInfo>& layers() const;  ///< ascending
  const LayerInfo& layer(int layer) const;       ///< an error lists the layers there are
  /// What is wrong with the file, one line each (Strictness::inspect).
  const std::vector<std::string>& problems() const;
  /// nullptr where the layer has no such tensor; q, k and v are always there.
  const StoredTensor* stored(int layer, Part part) const;

  /// Heads [first, first + count) of a tensor, rows [0, rows) of each (rows = 0: all), into memory from the
  /// given resource (nullptr: the default one).
  Tensor read(int layer, Part part, std::int64_t first, std::int64_t count, std::int64_t rows = 0,
              std::pmr::memory_resource* memory = nullptr) const;

  /// The query heads of a KV head with their keys and values. With `tokens` > 0 the first so many tokens
  /// only, as if the text ended there. A layer that attention replay has no semantics for yet (not
  /// causal, before RoPE, soft cap, attention sinks) is an error.
  KvGroup read_group(int layer, int kv_head, std::int64_t tokens = 0,
                     std::pmr::memory_resource* memory = nullptr) const;

  /// XXH3-64 of a tensor's stored bytes: the file's own attribute, or computed where there is none.
  std::uint64_t content_hash(int layer, Part part) const;
  /// Always computed.
  std::uint64_t compute_hash(int layer, Part part) const;

  /// Empty if the file has none.
  std::vector<std::int32_t> input_ids() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The first NaN or infinity among q, k and v, in words ("layer 3, k[head 2, token 17, 5] is NaN"); empty if
/// there is none. Heads are the model's numbers.
std::string first_non_finite(const KvGroup& group);
/// The same for one tensor whose first head is number `first_head`: "k[head 2, token 17, 5] is NaN".
std::string first_non_finite(const Tensor& tensor, std::string_view name, std::int64_t first_head);

}  // namespace anchor
