#include "anchor/report/head_views.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/report/base64.hpp"

namespace anchor {
namespace {

constexpr double decades = 7;  // masses of 1e-7 to 1 of a row have a colour

/// 0 = nothing; 1 to 255 on a log scale.
std::uint8_t mass_byte(double mass_per_row) {
  if (!(mass_per_row > 0)) return 0;
  return static_cast<std::uint8_t>(
      std::lround(1 + 254 * std::clamp(1 + std::log10(mass_per_row) / decades, 0.0, 1.0)));
}

std::string packed_doubles(const std::vector<double>& values) {
  const std::vector<float> floats(values.begin(), values.end());
  return base64_of(std::span<const float>(floats));
}

Json packed(const HeadViews& views, const HeadView& head) {
  Json json{{"layer", head.layer}, {"head", head.head}};
  if (!head.error.empty()) {
    json["error"] = head.error;
    return json;
  }
  if (head.curve.size() > 0) json["curve"] = packed_curve(head.curve);
  json["knob"] = packed_doubles(head.knob);
  json["density"] = packed_doubles(head.density);
  json["mass_recall"] = packed_doubles(head.mass_recall);

  std::vector<std::uint8_t> mass, level;  // row by row, what the row can see
  for (std::int64_t tile = 0; tile < views.tiles(); ++tile) {
    const auto rows = static_cast<double>(std::min(views.tile, views.q_len - tile * views.tile));
    for (std::int64_t block = 0; block < views.visible_blocks(tile); ++block) {
      const auto at = static_cast<std::size_t>(tile * views.blocks() + block);
      mass.push_back(mass_byte(static_cast<double>(head.mass[at]) / rows));
      level.push_back(head.level[at]);
    }
  }
  json["mass"] = base64(mass);
  json["level"] = base64(level);
  std::vector<std::uint8_t> profile;
  for (const float recall : head.row_recall)
    profile.push_back(static_cast<std::uint8_t>(std::lround(255 * std::clamp(recall, 0.0f, 1.0f))));
  json["profile"] = base64(profile);
  json["sink_share"] = head.sink_share;
  json["stripe_level"] = head.stripe_level;
  for (const HeadView::Stripe& stripe : head.stripes)
    json["stripes"].push_back({stripe.key, stripe.mass, stripe.lists, stripe.text});
  return json;
}

}  // namespace

std::int64_t HeadViews::visible_blocks(std::int64_t row) const {
  const std::int64_t last = q_start + std::min(q_len, (row + 1) * tile);
  return (std::min(last, kv_len) + tile - 1) / tile;
}

Curve thin_to(const Curve& curve, std::size_t points) {
  if (curve.size() <= points) return curve;
  Curve small = thin(curve, 1.0 / static_cast<double>(points));
  for (double tolerance = 1.0 / static_cast<double>(points); small.size() > points; tolerance *= 1.1)
    small = thin(curve, tolerance);
  return small;
}

Json packed_curve(const Curve& curve) {
  std::vector<std::uint16_t> density, recall;
  for (std::size_t n = 0; n < curve.size(); ++n) {
    density.push_back(
        static_cast<std::uint16_t>(std::lround(65535 * std::clamp(curve.density[n], 0.0, 1.0))));
    recall.push_back(
        static_cast<std::uint16_t>(std::lround(65535 * std::clamp(curve.mass_recall[n], 0.0, 1.0))));
  }
  Json json{{"knob", packed_doubles(curve.knob)},
            {"density", base64_of(std::span<const std::uint16_t>(density))},
            {"mass_recall", base64_of(std::span<const std::uint16_t>(recall))}};
  if (curve.descending) json["descending"] = true;
  return json;
}

Json packed(const HeadViews& views) {
  Json json{{"path", views.path},     {"model", views.model},     {"method", views.method},
            {"knob", views.knob},     {"params", views.params},   {"q_len", views.q_len},
            {"kv_len", views.kv_len}, {"q_start", views.q_start}, {"tile", views.tile},
            {"decades", decades},     {"heads", Json::array()}};
  for (const HeadView& head : views.heads) json["heads"].push_back(packed(views, head));
  return json;
}

}  // namespace anchor
