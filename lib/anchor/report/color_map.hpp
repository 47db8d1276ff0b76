#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace anchor {

struct Color {
  std::uint8_t red = 0, green = 0, blue = 0;
  bool operator==(const Color&) const = default;
};

/// The toolkit's one colour map, x in [0, 1] (clamped) from dark violet over teal to pale yellow. Made in
/// OKLab, where equal steps look equal: lightness rises linearly from 0.22 to 0.95 while the hue turns, so
/// the map survives greyscale printing and colour-blind eyes.
Color color_map(double x);

/// The colour of a chart's n-th line, as "#rrggbb": Okabe and Ito's for colour-blind eyes, over and over; the
/// HTML report has the same.
std::string series_color(std::size_t n);

/// Black or white, whichever reads better on that background.
Color text_color(Color background);

/// "#rrggbb"
std::string hex(Color color);

/// Index of the nearest colour in the 6x6x6 cube of 256-colour terminals.
int xterm_index(Color color);

}  // namespace anchor
