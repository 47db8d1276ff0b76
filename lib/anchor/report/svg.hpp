#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace anchor {

/// Builds an SVG document piece by piece. Coordinates are pixels; everything is one flat list of shapes.
class Svg {
 public:
  Svg(double width, double height);

  void rect(double x, double y, double width, double height, std::string_view fill,
            std::string_view tooltip = {});
  enum class Align { start, middle, end };
  void text(double x, double y, std::string_view words, Align align = Align::start, double size = 11,
            double rotate = 0);
  /// Path data under one style, for shapes by the thousand.
  void path(std::string_view data, std::string_view style);
  /// The colour map's bar of 64 steps, brightest on top.
  void color_bar(double x, double y, double width, double height);

  std::string finish() &&;

 private:
  std::string body_;
};

/// & < > " made safe for XML text and attributes.
std::string xml_escape(std::string_view text);

}  // namespace anchor
