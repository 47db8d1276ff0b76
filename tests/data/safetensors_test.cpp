#include "anchor/data/safetensors.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "anchor/base/error.hpp"
#include "anchor/data/transfer.hpp"
#include "support/temp_file.hpp"

using namespace anchor;

TEST_CASE("a pipe is no safetensors file, and is not waited for") {
  const test::TempFile pipe("pipe.safetensors");
  REQUIRE(::mkfifo(pipe.path.c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(SafetensorsReader(pipe.path), doctest::Contains("not a file"), Error);
}

TEST_CASE("what an import would make is known without making it") {
  const std::string header =
      R"({"__metadata__":{"model":"M","layers.0.softmax_scale":"0.5","layers.0.causal":"1"},)"
      R"("layers.0.q":{"dtype":"F32","shape":[2,3,1],"data_offsets":[0,24]},)"
      R"("layers.0.k":{"dtype":"F32","shape":[1,3,1],"data_offsets":[24,36]},)"
      R"("layers.0.v":{"dtype":"F32","shape":[1,3,1],"data_offsets":[36,48]}})";
  const std::uint64_t size = header.size();
  const test::TempFile file("import.safetensors");
  file.write(std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + std::string(48, '\0'));
  const DumpPlan plan = read_import(file.path, {});
  REQUIRE(plan.layers.size() == 1);
  CHECK(plan.header.model == "M");
  CHECK(plan.layers[0].geometry.q_heads == 2);
  CHECK(plan.layers[0].geometry.kv_len == 3);
  CHECK(plan.layers[0].geometry.softmax_scale == 0.5);
}
