#include "anchor/report/figure_file.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "anchor/report/svg.hpp"

using namespace anchor;

namespace {

std::string drawing() {
  Svg svg(120, 40);
  svg.text(10, 20, "words");
  return std::move(svg).finish();
}

/// True if this build and machine write PNG and PDF.
bool draws() {
  try {
    check_figure_name("f.png");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    CHECK(std::string(error.what()).find("f.svg") != std::string::npos);  // the way out
    return false;
  }
  return true;
}

}  // namespace

TEST_CASE("the ending says the format; other endings are refused before any work") {
  for (const char* path : {"f.svg", "F.SVG", "f", "/dev/stdout"}) {
    check_figure_name(path);
    CHECK(figure_bytes(drawing(), path) == drawing());
  }
  for (const char* path : {"f.jpg", "f.eps", "f.svg.gz"})
    CHECK_THROWS_WITH_AS(check_figure_name(path), doctest::Contains(".png or .pdf"), Error);
  if (!draws()) {
    MESSAGE("skipped: PNG and PDF (no librsvg)");
    return;
  }
  const std::string png = figure_bytes(drawing(), "f.png"), pdf = figure_bytes(drawing(), "f.PDF");
  CHECK(png.starts_with("\x89PNG\r\n"));
  const auto number = [&](std::size_t at) {
    return (static_cast<unsigned char>(png[at + 2]) << 8) + static_cast<unsigned char>(png[at + 3]);
  };
  CHECK(number(16) == 240);
  CHECK(number(20) == 80);
  CHECK(pdf.starts_with("%PDF-"));
  CHECK(pdf.find("/Font") != std::string::npos);            // text stays text
  CHECK(pdf.find("/Subtype /Image") == std::string::npos);  // nothing is a bitmap
  CHECK_THROWS_AS(figure_bytes("<svg", "f.png"), Error);
}
