#include "anchor/report/head_views.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/report/base64.hpp"
#include "anchor/report/knob_stops.hpp"

namespace anchor {
namespace {

constexpr double decades = 7;  // masses of 1e-7 to 1 of a row have a colour

/// 0 = nothing; 1 to 255 on a log scale.
std::uint8_t mass_byte(double mass_per_row) {
  if (!(mass_per_row > 0)) return 0;
  return static_cast<std::uint8_t>(
      std::lround(1 + 254 * std::clamp(1 + std::log10(mass_per_row) / decades, 0.0, 1.0)));
}

std::string packed_floats(std::span<const double> values) {
  const std::vector<float> floats(values.begin(), values.end());
  return base64_of(std::span<const float>(floats));
}

/// Shares in 65535ths.
std::string packed_shares(std::span<const float> shares) {
  std::vector<std::uint16_t> parts;
  for (const float share : shares)
    parts.push_back(static_cast<std::uint16_t>(std::lround(65535 * std::clamp(share, 0.0f, 1.0f))));
  return base64_of(std::span<const std::uint16_t>(parts));
}

Json packed(const HeadViews& views, const HeadView& head) {
  Json json{{"layer", head.layer}, {"head", head.head}};
  if (!head.error.empty()) {
    json["error"] = head.error;
    return json;
  }
  for (const KnobMark& mark : head.marks) json["marks"].push_back({json_number(mark.knob), mark.why});
  json["density"] = packed_floats(head.density);
  json["mass_recall"] = packed_floats(head.mass_recall);

  std::vector<std::uint8_t> mass, first;  // row by row, what the row can see
  for (std::int64_t tile = 0; tile < views.tiles(); ++tile) {
    const auto rows = static_cast<double>(std::min(views.tile, views.q_len - tile * views.tile));
    for (std::int64_t block = 0; block < views.visible_blocks(tile); ++block) {
      const auto at = static_cast<std::size_t>(tile * views.blocks() + block);
      mass.push_back(mass_byte(static_cast<double>(head.mass[at]) / rows));
      first.push_back(head.first[at]);
    }
  }
  json["mass"] = base64(mass);
  json["first"] = base64(first);
  json["row_recall"] = packed_shares(head.row_recall);
  json["sink_share"] = head.sink_share;
  for (const HeadView::Stripe& stripe : head.stripes) {
    Json lists = Json::array();
    for (const auto& [stop, count] : stripe.lists) {
      lists.push_back(stop);
      lists.push_back(count);
    }
    json["stripes"].push_back(
        {stripe.key, static_cast<float>(stripe.mass), stripe.possible, lists, stripe.text});
  }
  return json;
}

}  // namespace

std::int64_t HeadViews::visible_blocks(std::int64_t row) const {
  const std::int64_t last = q_start + std::min(q_len, (row + 1) * tile);
  return (std::min(last, kv_len) + tile - 1) / tile;
}

std::vector<double> HeadViews::stops_of(const HeadView& head) const {
  std::vector<double> own;
  for (const KnobMark& mark : head.marks) own.push_back(mark.knob);
  return merged_stops(stops, own, descending);
}

Json stops_json(std::span<const double> stops) {
  Json json = Json::array();
  for (const double stop : stops) json.push_back(json_number(stop));
  return json;
}

Json packed_stops(const Curve& curve, std::span<const double> stops) {
  std::vector<double> density, recall;
  for (const double stop : stops) {
    const CurvePoint point = curve.point(curve.at(stop));
    density.push_back(point.density);
    recall.push_back(point.mass_recall);
  }
  return {{"density", packed_floats(density)}, {"mass_recall", packed_floats(recall)}};
}

Json packed_means(std::span<const Curve> heads) {
  const Curve mean = mean_curve(heads), line = thin(mean, 1.0 / 256);
  Json json{{"density", packed_floats(line.density)}, {"mass_recall", packed_floats(line.mass_recall)}};
  for (const double target : {0.9, 0.95, 0.99}) {
    const auto one = mean.least(target);
    double own = 0;
    for (const Curve& curve : heads) own += curve.density[curve.least(target).value_or(curve.size() - 1)];
    json["needed"].push_back(
        {target, one ? Json(mean.density[*one]) : Json(), own / static_cast<double>(heads.size())});
  }
  return json;
}

Json packed(const HeadViews& views) {
  Json json{{"path", views.path},         {"model", views.model},
            {"method", views.method},     {"knob", views.knob},
            {"params", views.params},     {"q_len", views.q_len},
            {"kv_len", views.kv_len},     {"q_start", views.q_start},
            {"tile", views.tile},         {"decades", decades},
            {"row_tile", views.row_tile}, {"stops", stops_json(views.stops)},
            {"why", views.why},           {"stripes_shown", views.stripes_shown}};
  if (views.descending) json["descending"] = true;
  if (views.start) json["start"] = {json_number(views.start->knob), views.start->why};
  std::vector<Curve> curves;
  for (const HeadView& head : views.heads)
    if (head.curve.size() > 0) curves.push_back(head.curve);
  if (!curves.empty()) json["mean"] = packed_means(curves);
  json["heads"] = Json::array();
  for (const HeadView& head : views.heads) json["heads"].push_back(packed(views, head));
  return json;
}

}  // namespace anchor
