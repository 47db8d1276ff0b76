#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace anchor {

/// How context parallelism deals the tokens of one text to ranks. Each rank keeps the queries, keys and
/// values of its own tokens.
enum class ContextLayout : std::uint8_t {
  ring,    ///< one run of tokens per rank (Ring Attention, arXiv 2310.01889)
  zigzag,  ///< 2 R runs; rank r has runs r and 2 R - 1 - r, so that causal work is even
  striped  ///< token t belongs to rank t mod R (Striped Attention, arXiv 2311.09431)
};

const char* name_of(ContextLayout layout);
/// The layout of that name; a usage error lists the names.
ContextLayout context_layout(std::string_view name);

/// Which rank owns which of the tokens 0 .. tokens - 1.
class ContextSplit {
 public:
  /// A usage error unless every rank gets a token.
  ContextSplit(ContextLayout layout, int ranks, std::int64_t tokens);

  ContextLayout layout() const { return layout_; }
  int ranks() const { return ranks_; }
  std::int64_t tokens() const { return tokens_; }

  int owner(std::int64_t token) const;
  /// How many of the tokens before `token` a rank owns.
  std::int64_t owned_before(int rank, std::int64_t token) const;
  std::int64_t owned(int rank, std::int64_t begin, std::int64_t end) const {
    return owned_before(rank, end) - owned_before(rank, begin);
  }

 private:
  ContextLayout layout_;
  int ranks_;
  std::int64_t tokens_;
  std::vector<std::int64_t> runs_;  ///< where runs of tokens begin, and the end; empty when striped
};

}  // namespace anchor
