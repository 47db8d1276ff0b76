#include "anchor/rows/json.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace anchor;

TEST_CASE("JSON of others is parsed to a depth of 64") {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']');
  };
  CHECK(parse_json(nested(deepest_json)));
  CHECK_FALSE(parse_json(nested(deepest_json + 1)));
  CHECK_FALSE(parse_json(std::string(1'000'000, '[')));
  const std::string brackets(200, '[');  // in a text they do not nest
  CHECK(parse_json("[\"" + brackets + "\\\"" + brackets + "\"]"));
  CHECK_FALSE(parse_json("{"));
  CHECK_FALSE(parse_json("1e999"));
}

TEST_CASE("bytes that are not UTF-8 are replaced where JSON is written") {
  CHECK(json_text(Json{{"path", "a\xff"}}) == "{\"path\":\"a\xef\xbf\xbd\"}");
}
