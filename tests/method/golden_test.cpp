#include "model/golden.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>

#include "anchor/method/method.hpp"
#include "support/golden_inputs.hpp"

using namespace anchor;

namespace {

/// The keys of one plan row as runs "begin-end begin-end", clipped at the last key that its rows see.
std::string runs_of(const SparsePlan& plan, std::int64_t row) {
  const std::int64_t limit = plan.group_end(row % plan.groups());
  std::vector<bool> visible(static_cast<std::size_t>(limit), false);
  for (const auto start : plan.blocks[row]) {
    for (std::int64_t j = start; j < std::min(limit, start + plan.block_width(start)); ++j)
      visible[static_cast<std::size_t>(j)] = true;
  }
  for (const auto j : plan.columns[row]) visible[static_cast<std::size_t>(j)] = true;
  std::string text;
  for (std::int64_t j = 0; j < limit;) {
    if (!visible[static_cast<std::size_t>(j)]) {
      ++j;
      continue;
    }
    const std::int64_t begin = j;
    while (j < limit && visible[static_cast<std::size_t>(j)]) ++j;
    text += fmt::format("{}{}-{}", text.empty() ? "" : " ", begin, j);
  }
  return text;
}

}  // namespace

TEST_CASE("plans equal those of the independent implementation in tests/golden/planner_rules.py") {
  int files = 0;
  for (const Method& method : methods()) {
    const std::string name = "planners/" + method.name + ".json";
    if (!std::filesystem::exists(golden_path(name))) continue;
    ++files;
    for (const auto& golden : read_golden(name)) {
      const auto inputs = test::golden_inputs(golden["length"], golden["dim"], golden["q_heads"],
                                              golden["kv_heads"], golden["seed"]);
      PlanRequest request{default_params(method), {}};
      for (const auto& [key, value] : golden["set"].items())
        set_param(method, request.params, key, value.get<std::string>());
      CAPTURE(method.name);
      CAPTURE(golden["set"].dump());
      const SparsePlan plan = method.plan_cpu(inputs.view(), request);
      CHECK(validate(plan) == "");
      REQUIRE(plan.rows() == std::ssize(golden["rows"]));
      for (std::int64_t row = 0; row < plan.rows(); ++row) {
        CAPTURE(row);
        CHECK(runs_of(plan, row) == golden["rows"][static_cast<std::size_t>(row)].get<std::string>());
      }
    }
  }
  CHECK(files == 12);
}
