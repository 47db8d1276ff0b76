#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace anchor {

/// Byte-pair encoding over token ids (Sennrich et al., arXiv 1508.07909): starting from single symbols, the
/// adjacent pair of lowest rank is merged, leftmost first, until none is left.
class Bpe {
 public:
  /// Makes `symbol` the start symbol of a byte.
  void set_byte(unsigned char byte, int symbol) { byte_symbol_[byte] = symbol; }
  /// Declares that `left right` merges into `merged`; the order of calls is the rank. False if the pair has a
  /// rank.
  bool add_merge(int left, int right, int merged) {
    return add_merge(left, right, merged, static_cast<int>(merges_.size()));
  }
  /// The same with a rank of its own, which pairs may share.
  bool add_merge(int left, int right, int merged, int rank);

  /// Appends the tokens of a piece that starts as bytes, in O(n log n). A byte without a symbol is left out,
  /// as in Hugging Face's tokenizers.
  void encode(std::string_view piece, std::vector<int>& tokens) const;
  /// Appends what is left of the start symbols after all merges.
  void merge(const std::vector<int>& symbols, std::vector<int>& tokens) const;

 private:
  struct Merge {
    int rank, symbol;
  };
  static std::uint64_t key(int left, int right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  const Merge* find(int left, int right) const {
    const auto found = merges_.find(key(left, right));
    return found == merges_.end() ? nullptr : &found->second;
  }

  std::vector<int> byte_symbol_ = std::vector<int>(256, -1);
  std::unordered_map<std::uint64_t, Merge> merges_;
};

}  // namespace anchor
