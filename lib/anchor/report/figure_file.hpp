#pragma once

#include <string>
#include <string_view>

namespace anchor {

/// A usage error unless a figure can be written under that name: .svg, or no ending, as SVG; .png and .pdf
/// where the build has librsvg and cairo, and the machine, too. To be called before any work is done.
void check_figure_name(const std::string& path);

/// A drawing as the file of that name holds it: SVG as it is; PNG with four pixels for each of the drawing's;
/// PDF with lines and text, three quarters of a point to a pixel. A data error if it cannot be drawn.
std::string figure_bytes(std::string_view svg, const std::string& path);

/// Writes the drawing in the format of the name.
void write_figure(const std::string& path, std::string_view svg);

}  // namespace anchor
