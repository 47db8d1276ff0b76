#include "anchor/mass/mass_map.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <utility>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/base/error.hpp"
#include "support/close.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::check_close;
using test::random_inputs;
using test::square;

TEST_CASE("the blocked map equals the definition, and every row's mass is 1") {
  unsigned seed = 0;
  for (const std::int64_t length : {1, 127, 129, 700, 1100}) {
    for (const auto& [q_start, window] :
         {std::pair<std::int64_t, std::int64_t>{0, 0}, {length / 2, 0}, {0, 60}, {length / 2, length / 3}}) {
      for (const MassGranularity& grain :
           {MassGranularity{256, 128, 64}, MassGranularity{100, 0, 0}, MassGranularity{0, 48, 33},
            MassGranularity{512, 256, 1024}, MassGranularity{0, 300, 700}}) {
        auto inputs = random_inputs(square(length, 64, 1, 1, q_start), ++seed);
        inputs.geometry.sliding_window = window;
        const MassMap map = cpu_mass_map(inputs.view(), grain);
        const MassMap expected = reference_mass_map(inputs.view(), grain);
        check_close(map.lse, expected.lse, 1e-5);
        check_close(map.column_mass, expected.column_mass, 2e-5);
        check_close(map.block_mass, expected.block_mass, 2e-5);
        const auto total = [](const std::vector<float>& mass) {
          return std::accumulate(mass.begin(), mass.end(), 0.0);
        };
        const double rows = static_cast<double>(inputs.geometry.q_len);
        if (grain.group_rows > 0) CHECK(total(map.column_mass) == doctest::Approx(rows).epsilon(1e-5));
        if (grain.tile_rows > 0) CHECK(total(map.block_mass) == doctest::Approx(rows).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("the map's lse is the executor's") {
  const auto inputs = random_inputs(square(513, 80), 3);
  check_close(cpu_lse(inputs.view()), cpu_attention(inputs.view(), dense_plan(inputs.geometry)).lse, 1e-6);
}

TEST_CASE("a granularity that makes no sense is refused") {
  const auto inputs = random_inputs(square(64, 16));
  CHECK_THROWS_AS(cpu_mass_map(inputs.view(), {100, 64, 64}), Error);
  CHECK_THROWS_AS(cpu_mass_map(inputs.view(), {0, 64, 0}), Error);
}
