#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/base/aligned.hpp"
#include "anchor/base/codebook.hpp"
#include "anchor/method/params.hpp"
#include "anchor/method/quantizer.hpp"

namespace anchor {

/// How retrieval ranks the keys of a row that are neither sink nor window (its far keys).
struct RetrievalRule {
  enum class Rank {
    vq,      ///< by the code that stands for a key
    keys,    ///< by the key itself, turned as if it stood at the one distance, or at its bucket's
    exact,   ///< by the true score
    quest,   ///< by an upper bound of the scores of its page of 16 keys (Quest, arXiv 2406.10774)
    random,  ///< by chance
  };
  Rank rank = Rank::keys;
  std::int64_t window = 64, sink = 8;
  std::int64_t b = 2048;  ///< the distance at which all far keys are seen, if there is one bucket
  /// 1 = one bucket, at b; r > 1 = a bucket for every factor r of distance; 0 = every distance its own.
  double buckets = 1;
  std::shared_ptr<const Codebook> codebook = nullptr;  ///< of rank vq

  /// Far keys of a query at `position`: [first_far(), end_far()).
  std::int64_t first_far() const { return sink; }
  std::int64_t end_far(std::int64_t position) const { return position - window + 1; }
};

/// The rule of a2ats parameters. A usage error if rank = vq has no codebook; data errors of the file.
RetrievalRule retrieval_rule(const Params& params);

/// Queries before RoPE [rows, dim] as they see unrotated keys from that distance: turned to it. The attention
/// factor of keys joins theirs, since codes of keys have none.
AlignedVector<float> queries_at(const AlignedVector<float>& queries, std::int64_t rows, int dim,
                                const Rotation* rotation, std::int64_t distance);

/// Distances [from, to) that are all seen as `seen_at`.
struct DistanceBucket {
  std::int64_t from, to, seen_at;
};
/// The buckets of all distances from the window to `most`, ascending.
std::vector<DistanceBucket> distance_buckets(const RetrievalRule& rule, std::int64_t most);

/// Scores by which the far keys of one KV head's query rows are ranked.
class FarScores {
 public:
  /// `kv_head` is one of the inputs'. The inputs must outlive it. Data errors: rotary frequencies that are
  /// not known where the rule needs them, and a codebook of another model.
  FarScores(const AttentionInputs& inputs, int kv_head, const RetrievalRule& rule);

  /// Scores, in natural units as far as they mean scores, of query rows [first, first + rows) of a head:
  /// out[r * ld + j] for every far key j of row r. The other entries are left as they are.
  void rows(int head, std::int64_t first, std::int64_t rows, float* out, std::int64_t ld) const;

 private:
  void seen_rows(int head, std::int64_t first, std::int64_t rows, float* out, std::int64_t ld) const;
  void exact_rows(int head, std::int64_t first, std::int64_t rows, float* out, std::int64_t ld) const;
  void quest_row(int head, std::int64_t row, float* out) const;
  void random_row(int head, std::int64_t row, float* out) const;
  void score_bucket(const DistanceBucket& bucket, const float* queries, std::int64_t first, std::int64_t rows,
                    float* out, std::int64_t ld) const;
  std::int64_t position(std::int64_t row) const { return inputs_.geometry.q_start + row; }

  const AttentionInputs& inputs_;
  RetrievalRule rule_;
  int dim_;
  std::int64_t keys_ = 0;           ///< from the first on that can be far
  bool windowed_ = false;           ///< queries and keys are taken before RoPE
  AlignedVector<float> unrotated_;  ///< the keys before RoPE
  const float* ranked_ = nullptr;   ///< the keys that are ranked: those, or the inputs'
  std::vector<DistanceBucket> buckets_;
  std::optional<Quantizer> quantizer_;
  std::vector<std::uint16_t> codes_;  ///< [keys, parts]
  AlignedVector<float> low_, high_;   ///< [pages, dim]: least and largest of every page
};

}  // namespace anchor
