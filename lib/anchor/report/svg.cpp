#include "anchor/report/svg.hpp"

#include <cmath>

#include "anchor/report/color_map.hpp"

namespace anchor {

std::string xml_escape(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string line_path(std::span<const Svg::Point> points, LineShape shape) {
  std::string path;
  Svg::Point last{};
  for (std::size_t n = 0; n < points.size(); ++n) {
    const auto [x, y] = points[n];
    const bool near = n > 0 && std::abs(x - last.x) < 0.7 && std::abs(y - last.y) < 0.7;
    if (near && n + 1 < points.size()) continue;  // thousands of steps are one line to the eye
    last = points[n];
    if (n == 0)
      path += fmt::format("M{:.1f} {:.1f}", x, y);
    else if (shape == LineShape::straight)
      path += fmt::format("L{:.1f} {:.1f}", x, y);
    else
      path += shape == LineShape::across_then_up ? fmt::format("H{:.1f}V{:.1f}", x, y)
                                                 : fmt::format("V{:.1f}H{:.1f}", y, x);
  }
  return path;
}

Svg::Svg(double width, double height)
    : body_(fmt::format(
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
          "font-family=\"Helvetica, Arial, sans-serif\" shape-rendering=\"crispEdges\">\n"
          "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
          width, height)) {}

void Svg::rect(double x, double y, double width, double height, std::string_view fill,
               std::string_view tooltip) {
  body_ += fmt::format("<rect x=\"{:g}\" y=\"{:g}\" width=\"{:g}\" height=\"{:g}\" fill=\"{}\"", x, y, width,
                       height, fill);
  body_ += tooltip.empty() ? "/>\n" : fmt::format("><title>{}</title></rect>\n", xml_escape(tooltip));
}

void Svg::text(double x, double y, std::string_view words, Align align, double size, double rotate) {
  const char* anchors[] = {"start", "middle", "end"};
  const std::string turn =
      rotate == 0 ? "" : fmt::format(" transform=\"rotate({:g} {:g} {:g})\"", rotate, x, y);
  body_ += fmt::format(
      "<text x=\"{:g}\" y=\"{:g}\" font-size=\"{:g}\" text-anchor=\"{}\" fill=\"#222222\"{}>{}</text>\n", x,
      y, size, anchors[static_cast<int>(align)], turn, xml_escape(words));
}

void Svg::path(std::string_view data, std::string_view style) {
  if (!data.empty()) body_ += fmt::format("<path d=\"{}\" style=\"{}\"/>\n", data, style);
}

void Svg::color_bar(double x, double y, double width, double height) {
  constexpr int steps = 64;
  for (int n = 0; n < steps; ++n) {
    rect(x, y + height * n / steps, width, height / steps + 0.5, hex(color_map(1 - (n + 0.5) / steps)));
  }
}

std::string Svg::finish() && { return std::move(body_) + "</svg>\n"; }

}  // namespace anchor
