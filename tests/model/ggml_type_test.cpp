#include "anchor/model/ggml_type.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "model/golden.hpp"

using namespace anchor;

TEST_CASE("every type expands bit for bit as the gguf package does") {
  const auto types = read_golden("dequantize.json");
  for (const auto& [name, golden] : types.items()) {
    CAPTURE(name);
    const auto type = parse_ggml_type(golden["number"].get<std::uint32_t>());
    REQUIRE(type);
    CHECK(ggml_type_name(golden["number"].get<std::uint32_t>()) == name);
    const std::string bytes = from_hex(golden["bytes"]), floats = from_hex(golden["floats"]);
    std::vector<float> expected(floats.size() / 4), got(expected.size() + 1, -7.0f);
    std::memcpy(expected.data(), floats.data(), floats.size());
    const BlockSize block = block_size(*type);
    REQUIRE(static_cast<std::int64_t>(bytes.size()) * block.elements ==
            static_cast<std::int64_t>(expected.size()) * block.bytes);

    dequantize(*type, reinterpret_cast<const std::byte*>(bytes.data()),
               static_cast<std::int64_t>(expected.size()), got.data());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      REQUIRE(got[i] == expected[i]);
    }
    CHECK(got.back() == -7.0f);  // nothing is written past the end
  }
}

TEST_CASE("types that are not read still have names") {
  CHECK_FALSE(parse_ggml_type(16));
  CHECK(ggml_type_name(16) == "IQ2_XXS");
  CHECK(ggml_type_name(77) == "type 77");
}
