#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "support/params.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::TempFile;

namespace {

Thresholds sample(const char* method) {
  Thresholds made;
  made.method = method;
  made.knob = find_method(method).knob;
  made.layers.push_back({2, {0, 3}, {0.5, 0.75}, {0.9, 0.95}, {0.2, 0.1}});
  return made;
}

Thresholds read_back(const Thresholds& made) {
  const TempFile file("read_thresholds.json");
  file.write(thresholds_text(made));
  return read_thresholds(file.path);
}

}  // namespace

TEST_CASE("a knob is read within the range that its method gives it") {
  struct Case {
    const char* method;
    double value;
    bool right;
  };
  const Case cases[] = {
      {"anchor", -HUGE_VAL, true},
      {"anchor", HUGE_VAL, true},
      {"xattention", 1, true},
      {"xattention", 1.5, false},
      {"xattention", -0.1, false},
      {"xattention", -HUGE_VAL, true},
      {"vertical-slash", 12, true},
      {"vertical-slash", 12.5, false},
      {"vertical-slash", HUGE_VAL, false},
      {"block-sparse", -HUGE_VAL, false},
      {"flashprefill", HUGE_VAL, true},
      {"flashprefill", -1, false},
  };
  for (const Case& one : cases) {
    CAPTURE(one.method);
    CAPTURE(one.value);
    Thresholds made = sample(one.method);
    made.layers[0].value = {one.value, one.value};
    if (one.right) {
      CHECK(read_back(made).layers[0].value == made.layers[0].value);
    } else {
      CHECK_THROWS_WITH_AS(read_back(made), doctest::Contains("field \"layers[0].value\""), Error);
    }
  }
}

TEST_CASE("shapes survive the trip, and heads of another shape are refused") {
  Thresholds made = sample("anchor");
  made.layers[0].shape = {8, 2, 64};
  const Thresholds read = read_back(made);
  CHECK(read.layers[0].shape == made.layers[0].shape);
  const Method& anchor = find_method("anchor");
  Geometry g{.q_heads = 8, .kv_heads = 2, .head_dim = 64};
  CHECK_NOTHROW(read.check(anchor, 2, g, std::vector<int>{0, 3}, "t.json"));
  g.head_dim = 128;
  CHECK_THROWS_WITH_AS(read.check(anchor, 2, g, std::vector<int>{0}, "t.json"),
                       doctest::Contains("8/2 heads of dimension 64, not for 8/2 of dimension 128"), Error);
  CHECK_FALSE(read_back(sample("anchor")).layers[0].shape);  // a file of an older tool
}
