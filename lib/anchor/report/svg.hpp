#pragma once

#include <fmt/format.h>

#include <span>
#include <string>
#include <string_view>

namespace anchor {

/// Builds an SVG document piece by piece. Coordinates are pixels; everything is one flat list of shapes.
class Svg {
 public:
  struct Point {
    double x, y;
  };
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

/// How a line goes from one point to the next.
enum class LineShape { straight, across_then_up, up_then_across };
/// Path data of a line. Of points within a pixel it takes one, and always the last.
std::string line_path(std::span<const Svg::Point> points, LineShape shape);

/// & < > " made safe for XML text and attributes.
std::string xml_escape(std::string_view text);

}  // namespace anchor
