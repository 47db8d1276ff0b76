#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <sstream>

#include "anchor/base/error.hpp"
#include "anchor/report/color_map.hpp"
#include "anchor/report/head_map.hpp"
#include "anchor/report/heatmap.hpp"
#include "anchor/report/output_file.hpp"
#include "anchor/report/row_writer.hpp"

using namespace anchor;

namespace {

/// Printed columns of a line: escape sequences take none, a UTF-8 character takes one.
std::size_t printed_width(const std::string& line) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
    } else {
      width += (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
    }
  }
  return width;
}

Heatmap map_of(int layers, int heads) {
  Heatmap map{.title = "mass_recall", .layers = {}, .heads = {}, .values = {}};
  for (int layer = 0; layer < layers; ++layer) map.layers.push_back(layer);
  for (int head = 0; head < heads; ++head) map.heads.push_back(head);
  for (int n = 0; n < layers * heads; ++n) map.values.push_back(1 - 0.3 * n / (layers * heads));
  map.scale_to_share();
  return map;
}

}  // namespace

TEST_CASE("a heatmap of values by head marks the heads that are not there") {
  Heatmap map;
  map.set_values({{{3, 1}, 0.5}, {{0, 4}, 0.25}, {{3, 4}, 1}});
  CHECK(map.layers == std::vector<int>{0, 3});
  CHECK(map.heads == std::vector<int>{1, 4});
  CHECK(std::isnan(map.at(0, 0)));
  CHECK(map.at(0, 1) == 0.25);
  CHECK(map.at(1, 0) == 0.5);
  CHECK(map.at(1, 1) == 1);
}

namespace {

std::string written(std::string_view format, const std::vector<Json>& rows, std::size_t width = 0) {
  std::string text;
  const auto writer = make_row_writer(
      format, [&](std::string_view part) { text += part; },
      {{"dump.layer"}, {"output_recall_0.01", 4}, {"error"}}, width);
  for (const Json& row : rows) writer->row(row);
  writer->finish();
  return text;
}

const std::vector<Json> two_rows{{{"dump", {{"layer", 3}}}, {"output_recall_0.01", 1.0 / 3}},
                                 {{"dump", {{"layer", 12}}}, {"error", "NaN in \"q\", head 1"}}};

}  // namespace

TEST_CASE("terminal heatmaps fit 80 columns for every shape and colour depth") {
  for (const auto& [layers, heads] : {std::pair{30, 9}, {32, 32}, {1, 1}, {2, 74}, {3, 75}, {80, 128}}) {
    for (const auto colors : {TerminalColors::none, TerminalColors::palette256, TerminalColors::rgb}) {
      CAPTURE(heads);
      std::istringstream text(terminal_heatmap(map_of(layers, heads), colors));
      int lines = 0;
      for (std::string line; std::getline(text, line); ++lines) CHECK(printed_width(line) <= 80);
      const bool numbers = colors == TerminalColors::none && heads <= 14;  // which need no legend
      CHECK(lines == layers + (numbers ? 2 : 3));  // title, head numbers, layers, legend
    }
  }
}

TEST_CASE("without colours a heatmap has no escape sequence and shows every value's rank") {
  Heatmap map = map_of(1, 32);
  map.values.assign(32, 1.0);
  map.values[3] = 0.7;
  map.values[5] = std::nan("");
  map.scale_to_share();
  CHECK(map.low == doctest::Approx(0.7));
  const std::string text = terminal_heatmap(map, TerminalColors::none);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find(" 9 9 9 0 9 x 9") != std::string::npos);
}

TEST_CASE("heads that share a cell show the least of them") {
  Heatmap map = map_of(1, 148);
  map.values.assign(148, 1.0);
  map.values[1] = 0.5;
  map.scale_to_share();
  CHECK(terminal_heatmap(map, TerminalColors::none).find("    0 0999") != std::string::npos);
}

TEST_CASE("the colour map rises in lightness all the way") {
  double last = -1;
  for (int n = 0; n <= 100; ++n) {
    const Color c = color_map(n / 100.0);
    const double luma = 0.2126 * std::pow(c.red / 255.0, 2.2) + 0.7152 * std::pow(c.green / 255.0, 2.2) +
                        0.0722 * std::pow(c.blue / 255.0, 2.2);
    CHECK(luma > last);
    last = luma;
  }
  CHECK(color_map(-1) == color_map(0));
  CHECK(color_map(2) == color_map(1));
  CHECK(xterm_index({0, 0, 0}) == 16);
  CHECK(xterm_index({255, 255, 255}) == 231);
}

TEST_CASE("one row in every format") {
  CHECK(written("csv", two_rows) ==
        "dump.layer,output_recall_0.01,error\n3,0.3333333333333333,\n12,,\"NaN in \"\"q\"\", head 1\"\n");
  CHECK(written("md", {two_rows[0]}) ==
        "| dump.layer | output_recall_0.01 | error |\n"
        "|-----------:|-------------------:|------:|\n"
        "|          3 |             0.3333 |     - |\n");
  CHECK(written("md", {two_rows[0]}, 40).find("error") == std::string::npos);
  CHECK(Json::parse(written("json", two_rows)) == Json(two_rows));
  CHECK(written("json", {}) == "[]\n");
  std::istringstream lines(written("jsonl", two_rows));
  std::string line;
  for (const Json& row : two_rows) {
    std::getline(lines, line);
    CHECK(Json::parse(line) == row);
  }
  CHECK_THROWS_AS(format_of_suffix("rows.txt"), Error);
  CHECK(format_of_suffix("a.b/rows.jsonl") == "jsonl");
}

TEST_CASE("an output file appears only when it is complete") {
  const std::string path = (std::filesystem::temp_directory_path() / "anchor_output_file_test.md").string();
  std::filesystem::remove(path);
  { OutputFile(path).write("half"); }
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_FALSE(std::filesystem::exists(path + ".part"));
  OutputFile file(path);
  file.write("whole");
  CHECK_FALSE(std::filesystem::exists(path));
  file.commit();
  CHECK(std::filesystem::file_size(path) == 5);
  CHECK_FALSE(std::filesystem::exists(path + ".part"));
  std::filesystem::remove(path);
  CHECK_THROWS_AS(OutputFile("/nonexistent/file.md"), Error);
}

TEST_CASE("pictures escape their titles and veil what a plan drops") {
  Heatmap map = map_of(2, 3);
  map.title = "a < b & \"c\"";
  const std::string svg = svg_heatmap(map);
  CHECK(svg.find("a &lt; b &amp; &quot;c&quot;") != std::string::npos);
  CHECK(svg.find("layer 1 head 2") != std::string::npos);

  HeadMap head{.title = "",
               .q_len = 32,
               .kv_len = 32,
               .tile_rows = 16,
               .block_keys = 16,
               .mass = {16, 0, 8, 8},
               .kept = {1, 0, 1, 1},
               .stripes = {}};
  CHECK(svg_head_map(head).find("fill-opacity") == std::string::npos);
  head.kept[2] = 0.5;
  CHECK(svg_head_map(head).find("fill-opacity:0.35") != std::string::npos);
  CHECK(head_map_tile(100) == 8);
  CHECK(head_map_tile(8192) == 64);
  CHECK(head_map_tile(131072) == 1024);
}
