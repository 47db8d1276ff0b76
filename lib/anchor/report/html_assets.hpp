#pragma once

#include <string_view>

namespace anchor {

/// The report's style and script (report/html/), built in, and their SHA-256 in hex.
extern const std::string_view html_style, html_style_sha256;
extern const std::string_view html_script, html_script_sha256;

}  // namespace anchor
