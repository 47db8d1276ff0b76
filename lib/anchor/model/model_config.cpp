#include "anchor/model/model_config.hpp"

#include <cmath>

#include "anchor/base/error.hpp"

namespace anchor {

void check_config(const ModelConfig& c, const std::string& path) {
  if (c.kv_heads < 1 || c.kv_heads > c.q_heads || c.q_heads % c.kv_heads != 0)
    fail("{}: {} query heads cannot share {} KV heads evenly", path, c.q_heads, c.kv_heads);
  const int rotated = c.rotated_dims();
  if (c.head_dim < 4 || c.head_dim > 1024 || c.head_dim % 2 != 0 || rotated < 4 || rotated % 2 != 0 ||
      rotated > c.head_dim) {
    fail("{}: rotary embedding of {} of a head's {} dimensions is not supported", path, rotated, c.head_dim);
  }
  if (!(c.rms_norm_eps >= 0 && c.rms_norm_eps < 1))
    fail("{}: an epsilon of {} in RMS norms is impossible", path, c.rms_norm_eps);
  for (const double theta : {c.rope_theta, c.local_rope_theta == 0 ? c.rope_theta : c.local_rope_theta}) {
    if (!(theta > 1 && std::isfinite(theta))) fail("{}: rope base {} is impossible", path, theta);
  }
  for (const double scale : {c.softmax_scale, c.embedding_scale, c.residual_scale, c.logit_scale}) {
    if (!(scale > 0 && std::isfinite(scale))) fail("{}: a multiplier of {} is impossible", path, scale);
  }
  for (const std::int64_t window : c.windows) {
    if (window < 0) fail("{}: a sliding window of {} is impossible", path, window);
  }
  if (c.experts > 0 && (c.experts_used < 1 || c.experts_used > c.experts))
    fail("{}: {} of {} experts cannot be used", path, c.experts_used, c.experts);
  if (!c.rope_scaling) return;
  const RopeScaling& scaling = *c.rope_scaling;
  if (!(std::isfinite(scaling.factor) && scaling.factor >= 1))
    fail("{}: rope scaling factor {} is impossible", path, scaling.factor);
  if (scaling.original_context < 0 || !(scaling.attention_factor >= 0) ||
      !std::isfinite(scaling.attention_factor) || !(scaling.beta_fast > 0) || !(scaling.beta_slow > 0) ||
      !std::isfinite(scaling.extrapolation) || !(scaling.low_freq_factor > 0) ||
      !(scaling.high_freq_factor > scaling.low_freq_factor)) {
    fail("{}: the parameters of its rope scaling are impossible", path);
  }
  if (scaling.kind == RopeScaling::Kind::longrope) {
    for (const auto* factors : {&scaling.short_factors, &scaling.long_factors}) {
      if (factors->size() != static_cast<std::size_t>(rotated / 2))
        fail("{}: longrope has {} factors for {} rotated pairs", path, factors->size(), rotated / 2);
      for (const float factor : *factors) {
        if (!(factor > 0 && std::isfinite(factor)))
          fail("{}: a longrope factor of {} is impossible", path, factor);
      }
    }
  }
}

}  // namespace anchor
