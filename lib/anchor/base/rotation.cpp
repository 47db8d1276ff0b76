#include "anchor/base/rotation.hpp"

#include <cmath>
#include <utility>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

/// cos and sin of one position. The angle is a float product, as models compute it: taking a turn back must
/// meet the very angle that was turned.
class Turn {
 public:
  explicit Turn(const Rotation& rotation) : rotation_(rotation), pairs_(rotation.inv_freq.size()) {}

  void forth(std::int64_t position) { set(position, rotation_.attention_factor, rotation_.attention_factor); }
  void back(std::int64_t position) {
    set(position, 1 / rotation_.attention_factor, -1 / rotation_.attention_factor);
  }

  void apply(float* row) const {
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const auto [cos, sin] = pairs_[i];
      const auto a = static_cast<double>(row[i]), b = static_cast<double>(row[i + pairs_.size()]);
      row[i] = static_cast<float>(a * cos - b * sin);
      row[i + pairs_.size()] = static_cast<float>(b * cos + a * sin);
    }
  }

 private:
  void set(std::int64_t position, double of_cos, double of_sin) {
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const auto angle = static_cast<double>(static_cast<float>(position) * rotation_.inv_freq[i]);
      pairs_[i] = {std::cos(angle) * of_cos, std::sin(angle) * of_sin};
    }
  }

  const Rotation& rotation_;
  std::vector<std::pair<double, double>> pairs_;
};

}  // namespace

void Rotation::require_known(int head_dim) const {
  if (!unknown.empty()) fail("{}", unknown);
  if (static_cast<std::int64_t>(2 * inv_freq.size()) > head_dim)
    fail("{} rotary frequencies turn more dimensions than the {} of a head", inv_freq.size(), head_dim);
}

void rotate_rows(const Rotation* rotation, float* rows, std::int64_t count, int dim, std::int64_t first) {
  if (rotation == nullptr) return;
  rotation->require_known(dim);
  Turn turn(*rotation);
  for (std::int64_t n = 0; n < count; ++n) {
    turn.forth(first + n);
    turn.apply(rows + n * dim);
  }
}

void unrotate_rows(const Rotation* rotation, float* rows, std::int64_t count, int dim, std::int64_t first) {
  if (rotation == nullptr) return;
  rotation->require_known(dim);
  Turn turn(*rotation);
  for (std::int64_t n = 0; n < count; ++n) {
    turn.back(first + n);
    turn.apply(rows + n * dim);
  }
}

void rotate_rows_to(const Rotation* rotation, float* rows, std::int64_t count, int dim,
                    std::int64_t position) {
  if (rotation == nullptr) return;
  rotation->require_known(dim);
  Turn turn(*rotation);
  turn.forth(position);
  for (std::int64_t n = 0; n < count; ++n) turn.apply(rows + n * dim);
}

}  // namespace anchor
