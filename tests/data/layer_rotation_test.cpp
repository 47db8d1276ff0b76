#include "anchor/data/layer_rotation.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/data/dump_reader.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

namespace {

std::string error_of(const std::string& json) {
  try {
    rotation_from_json(json, 64);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("frequencies of the kinds default and linear come from rope_json, others name the field") {
  const Rotation plain = rotation_from_json(R"({"rope_type": "default", "rope_theta": 100000.0})", 64);
  REQUIRE(plain.inv_freq.size() == 32);
  CHECK(plain.inv_freq[0] == 1);
  CHECK(plain.inv_freq[16] == doctest::Approx(std::pow(1e5, -0.5)));
  const Rotation linear = rotation_from_json(
      R"({"rope_type": "linear", "rope_theta": 100000.0, "factor": 4, "partial_rotary_factor": 0.5})", 64);
  REQUIRE(linear.inv_freq.size() == 16);
  CHECK(linear.inv_freq[8] == doctest::Approx(std::pow(1e5, -0.5) / 4));
  CHECK(error_of(R"({"rope_type": "yarn", "rope_theta": 10000.0})") == "field rope_type is yarn");
  CHECK(error_of(R"({"full_attention": {}})") == "field rope_type is missing");
  CHECK(error_of(R"({"rope_type": "default"})") == "field rope_theta is missing or not positive");
  CHECK(error_of(R"({"rope_type": "default", "rope_theta": 1e4, "frequency_divisors": [1]})") ==
        "field frequency_divisors is there");
  CHECK(error_of("[") == "not a JSON object");
}

TEST_CASE("a dump's groups know how they were turned: by rope_json, not at all, or why that is not known") {
  const DumpReader model(ANCHOR_SOURCE_DIR "/data/smollm2.h5");
  const KvGroup real = model.read_group(17, 0);
  REQUIRE(real.rotation != nullptr);
  CHECK(real.rotation->unknown == "");
  CHECK(real.rotation->inv_freq.size() == 32);
  const DumpReader made(ANCHOR_SOURCE_DIR "/data/synthetic.h5");
  CHECK(made.read_group(0, 1).rotation == nullptr);
  const test::TempDump dump("rotation.h5");
  const KvGroup group = DumpReader(dump.path).read_group(1, 0);
  REQUIRE(group.rotation != nullptr);
  CHECK(group.rotation->unknown.find("layers/001: rope_inv_freq is missing, and the dump has no rope_json") !=
        std::string::npos);
}
