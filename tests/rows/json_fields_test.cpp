#include "anchor/rows/json_fields.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"

using namespace anchor;

TEST_CASE("what is missing or wrong is named by place and field") {
  const Json json = *parse_json(
      R"({"n":3,"x":0.5,"big":18446744073709551615,"text":"t","list":[1,"inf"],"inner":{"y":"no"},"objects":[{},{"z":7}]})");
  JsonFields fields(json, "f.json:4");
  CHECK(fields.need_integer("n", {1, 3}) == 3);
  CHECK(fields.need_number("x") == 0.5);
  CHECK(fields.need_text("text") == "t");
  CHECK(fields.need_numbers("list") == std::vector<double>{1, HUGE_VAL});
  CHECK(fields.need_objects("objects")[1].need_integer("z", {}) == 7);
  CHECK_FALSE(fields.object("nothing"));
  const auto refused = [&](auto use, const char* message) {
    CHECK_THROWS_WITH_AS(use(), doctest::Contains(message), Error);
  };
  refused([&] { fields.need("gone"); }, "f.json:4: field \"gone\" is missing");
  refused([&] { fields.need_integer("n", {4, 9}); }, "field \"n\" is 3; it must lie in [4, 9]");
  refused([&] { fields.need_integer("x", {}); }, "field \"x\" is not a whole number");
  refused([&] { fields.need_integer("big", {}); }, "field \"big\" is not a whole number");
  refused([&] { fields.need_number("x", {.low = 1}); }, "it must be at least 1");
  refused([&] { fields.need_numbers("list", {.high = 2}); }, "field \"list\" is inf; it must be at most 2");
  refused([&] { fields.need_number("text"); }, "field \"text\" is not a number");
  refused([&] { fields.need_text("n"); }, "field \"n\" is not a text");
  refused([&] { fields.object("inner")->need_number("y"); }, "field \"inner.y\" is not a number");
  refused([&] { fields.need_objects("objects")[0].need("z"); }, "field \"objects[0].z\" is missing");
  refused([&] { fields.object("n"); }, "field \"n\" is not an object");
  refused([&] { fields.need_numbers("n"); }, "field \"n\" is not a list");
}
