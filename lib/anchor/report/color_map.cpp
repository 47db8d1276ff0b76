#include "anchor/report/color_map.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace anchor {
namespace {

std::uint8_t srgb_byte(double linear) {
  linear = std::clamp(linear, 0.0, 1.0);
  const double value = linear <= 0.0031308 ? 12.92 * linear : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
  return static_cast<std::uint8_t>(std::lround(255 * value));
}

/// Bjoern Ottosson, "A perceptual color space for image processing" (2020).
Color from_oklab(double lightness, double a, double b) {
  const auto cube = [](double x) { return x * x * x; };
  const double l = cube(lightness + 0.3963377774 * a + 0.2158037573 * b);
  const double m = cube(lightness - 0.1055613458 * a - 0.0638541728 * b);
  const double s = cube(lightness - 0.0894841775 * a - 1.2914855480 * b);
  return {srgb_byte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
          srgb_byte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
          srgb_byte(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

}  // namespace

Color color_map(double x) {
  x = std::isnan(x) ? 0 : std::clamp(x, 0.0, 1.0);
  const double lightness = 0.22 + 0.73 * x;
  const double hue = (310 - 205 * x) * std::numbers::pi / 180;  // violet 310, blue, teal, green, yellow 105
  const double chroma = 0.09 + 0.045 * x;  // what sRGB can show at every lightness on the way
  return from_oklab(lightness, chroma * std::cos(hue), chroma * std::sin(hue));
}

std::string series_color(std::size_t n) {
  constexpr std::array colors{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                              "#e69f00", "#56b4e9", "#8c6bb1", "#999933"};
  return colors[n % colors.size()];
}

Color text_color(Color background) {
  const double luma = 0.299 * background.red + 0.587 * background.green + 0.114 * background.blue;
  return luma > 120 ? Color{0, 0, 0} : Color{255, 255, 255};
}

std::string hex(Color color) {
  return fmt::format("#{:02x}{:02x}{:02x}", color.red, color.green, color.blue);
}

int xterm_index(Color color) {
  const auto level = [](std::uint8_t value) {
    return value < 48 ? 0 : value < 115 ? 1 : (value - 35) / 40;  // cube levels 0, 95, 135, 175, 215, 255
  };
  return 16 + 36 * level(color.red) + 6 * level(color.green) + level(color.blue);
}

}  // namespace anchor
