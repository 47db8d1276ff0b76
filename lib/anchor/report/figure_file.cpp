#include "anchor/report/figure_file.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "anchor/base/error.hpp"
#include "anchor/report/output_file.hpp"

#ifdef ANCHOR_HAVE_FIGURES
#include <cairo-pdf.h>
#include <librsvg/rsvg.h>

#include <memory>

#include "anchor/engine/shared_library.hpp"
#endif

namespace anchor {
namespace {

std::string ending(const std::string& path) {
  std::string end = std::filesystem::path(path).extension().string();
  std::transform(end.begin(), end.end(), end.begin(), [](unsigned char c) { return std::tolower(c); });
  return end;
}

bool is_svg(const std::string& path) { return ending(path).empty() || ending(path) == ".svg"; }

#ifdef ANCHOR_HAVE_FIGURES

/// librsvg and what it draws with, opened when the first figure needs them: no tool needs them to start.
struct Library {
  SharedLibrary rsvg{"librsvg-2.so.2", "ANCHOR_RSVG_LIB"}, cairo{"libcairo.so.2", "ANCHOR_CAIRO_LIB"},
      gobject{"libgobject-2.0.so.0", "ANCHOR_GOBJECT_LIB"}, glib{"libglib-2.0.so.0", "ANCHOR_GLIB_LIB"};

  std::string missing() const {
    for (const SharedLibrary* one : {&rsvg, &cairo, &gobject, &glib})
      if (!one->found()) return one->reason();
    return {};
  }
};

const Library& library() {
  static const Library opened;
  return opened;
}

#define ANCHOR_CALL(part, name) (library().part.symbol<decltype(name)>(#name))

cairo_status_t append(void* text, const unsigned char* data, unsigned int length) {
  static_cast<std::string*>(text)->append(reinterpret_cast<const char*>(data), length);
  return CAIRO_STATUS_SUCCESS;
}

std::string figure_missing() { return library().missing(); }

std::string draw(std::string_view svg, const std::string& path) {
  GError* error = nullptr;
  const auto why = [&] {
    std::string text = error ? error->message : "unknown reason";
    if (error) ANCHOR_CALL(glib, g_error_free)(error);
    return text;
  };
  const std::unique_ptr<RsvgHandle, void (*)(void*)> drawing(
      ANCHOR_CALL(rsvg, rsvg_handle_new_from_data)(reinterpret_cast<const guint8*>(svg.data()), svg.size(),
                                                   &error),
      ANCHOR_CALL(gobject, g_object_unref));
  if (!drawing) fail("{}: the drawing cannot be read: {}", path, why());
  double width = 0, height = 0;
  if (!ANCHOR_CALL(rsvg, rsvg_handle_get_intrinsic_size_in_pixels)(drawing.get(), &width, &height))
    fail("{}: the drawing has no size", path);
  const bool pdf = ending(path) == ".pdf";
  const double scale = pdf ? 0.75 : 2;
  std::string bytes;
  cairo_surface_t* surface =
      pdf ? ANCHOR_CALL(cairo, cairo_pdf_surface_create_for_stream)(append, &bytes, scale * width,
                                                                    scale * height)
          : ANCHOR_CALL(cairo, cairo_image_surface_create)(
                CAIRO_FORMAT_ARGB32, static_cast<int>(scale * width), static_cast<int>(scale * height));
  cairo_t* pen = ANCHOR_CALL(cairo, cairo_create)(surface);
  const RsvgRectangle page{0, 0, scale * width, scale * height};
  const bool drawn = ANCHOR_CALL(rsvg, rsvg_handle_render_document)(drawing.get(), pen, &page, &error);
  ANCHOR_CALL(cairo, cairo_destroy)(pen);
  if (drawn && !pdf) ANCHOR_CALL(cairo, cairo_surface_write_to_png_stream)(surface, append, &bytes);
  ANCHOR_CALL(cairo, cairo_surface_finish)(surface);
  const cairo_status_t status = ANCHOR_CALL(cairo, cairo_surface_status)(surface);
  ANCHOR_CALL(cairo, cairo_surface_destroy)(surface);
  if (!drawn) fail("{}: cannot be drawn: {}", path, why());
  if (status != CAIRO_STATUS_SUCCESS && bytes.empty()) {
    fail("{}: cannot be drawn: {}", path, ANCHOR_CALL(cairo, cairo_status_to_string)(status));
  }
  return bytes;
}

#else

std::string figure_missing() {
  return "this build is without librsvg (./dev setup installs it; then build anew)";
}
std::string draw(std::string_view, const std::string& path) { fail("{}: {}", path, figure_missing()); }

#endif

}  // namespace

void check_figure_name(const std::string& path) {
  if (is_svg(path)) return;
  const std::string end = ending(path);
  if (end != ".png" && end != ".pdf") fail_usage("{}: figures are .svg, .png or .pdf", path);
  if (const std::string missing = figure_missing(); !missing.empty()) {
    fail_usage("{}: PNG and PDF need librsvg: {}; or write {}", path, missing,
               std::filesystem::path(path).replace_extension(".svg").string());
  }
}

std::string figure_bytes(std::string_view svg, const std::string& path) {
  return is_svg(path) ? std::string(svg) : draw(svg, path);
}

void write_figure(const std::string& path, std::string_view svg) {
  write_text_file(path, figure_bytes(svg, path));
}

}  // namespace anchor
