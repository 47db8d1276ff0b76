#include "anchor/eval/answer_set.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/eval/fidelity.hpp"
#include "anchor/eval/head_evidence.hpp"

using namespace anchor;
using doctest::Approx;

namespace {

struct Answered {
  std::string id, kind = "needle";
  bool dense = true, right = true;
  std::vector<std::vector<int>> kept = {};
  double depth = 0.5;
  int length = 1024;
};

ResultRow row_of(const std::string& method, const Answered& one) {
  ResultRow row;
  row.kind = "eval";
  row.scope = "task";
  row.model = "tiny";
  row.method = method;
  row.density = 0.5;
  AnswerScore dense{.right = one.dense}, score{.right = one.right};
  score.divergence = {one.right ? 0.1 : 2.};
  row.eval = answer_result(score, dense);
  row.eval->task = one.id;
  row.eval->task_kind = one.kind;
  row.eval->task_length = one.length;
  row.eval->task_depth = one.depth;
  if (!one.kept.empty()) row.extra["evidence_by_head"] = HeadEvidence{4, one.kept}.text();
  return row;
}

}  // namespace

TEST_CASE("what every head keeps is a text that reads back") {
  const HeadEvidence evidence{12, {{12, 0, 3}, {}, {12, 12, 11}}};
  CHECK(evidence.text() == "12:,0,3;-;,,11");
  const HeadEvidence again = HeadEvidence::parse(evidence.text(), "here");
  CHECK(again.tokens == 12);
  CHECK(again.kept == evidence.kept);
  for (const char* wrong : {"", "12", "0:", "x:1", "12:1,x", "12:13", "12:-1", "-1:"})
    CHECK_THROWS_AS(HeadEvidence::parse(wrong, "here"), Error);
}

TEST_CASE("settings are told apart, and kinds that dense attention misses count in no mean") {
  std::vector<ResultRow> rows;
  for (const char* method : {"streaming", "anchor"}) {
    const bool good = method == std::string("anchor");
    rows.push_back(row_of(method, {.id = "a"}));
    rows.push_back(row_of(method, {.id = "b", .right = good}));
    rows.push_back(row_of(method, {.id = "c", .kind = "hard", .dense = false, .right = false}));
  }
  ResultRow fitted = row_of("anchor", {.id = "a"});
  fitted.target = Target{"density", "mean", 0.15};
  rows.push_back(fitted);
  const std::vector<AnswerSet> sets = answer_sets(rows);
  REQUIRE(sets.size() == 3);
  CHECK(sets[0].name() == "streaming");
  CHECK(sets[2].name() == "anchor at density 0.15");
  CHECK(sets[0].all.result.n == 2);
  CHECK(sets[0].all.result.flips == 1);
  CHECK(sets[0].all.result.accuracy == 0.5);
  CHECK(sets[0].places.size() == 2);
  CHECK_FALSE(sets[0].counts({"hard", 1024}));
  CHECK(sets[0].worst() == AnswerSet::Place{"needle", 1024});
  CHECK_FALSE(sets[1].worst());

  const AnswerPair pair = compare_answers(sets[0], sets[1]);
  CHECK(pair.n == 2);
  CHECK(pair.first_only == 0);
  CHECK(pair.second_only == 1);
  CHECK(pair.p == 1);

  rows.push_back(rows[0]);
  CHECK_THROWS_WITH_AS(answer_sets(rows), doctest::Contains("two rows of question a with streaming"), Error);
}

TEST_CASE("without rows of questions the sums that rows hold are taken") {
  ResultRow kind = row_of("anchor", {.id = ""}), all = kind;
  kind.scope = "kind";
  all.scope = "all";
  all.eval->task_kind.clear();
  kind.eval->n = all.eval->n = 70;
  const std::vector<ResultRow> rows{kind, all};
  const std::vector<AnswerSet> sets = answer_sets(rows);
  REQUIRE(sets.size() == 1);
  CHECK(sets[0].all.result.n == 70);
  CHECK(sets[0].places.at({"needle", 1024}).result.n == 70);
}

TEST_CASE("a head whose evidence is lost where answers flip correlates, one that always keeps it does not") {
  std::vector<ResultRow> rows;
  for (int n = 0; n < 8; ++n) {
    const bool flips = n < 3;
    // Head 0 loses all exactly where the answer flips, head 1 everywhere half, head 2 is noise.
    rows.push_back(
        row_of("anchor",
               {.id = std::to_string(n), .right = !flips, .kept = {{flips ? 0 : 4, 2, n % 2 == 0 ? 4 : 1}}}));
  }
  const std::vector<AnswerSet> sets = answer_sets(rows);
  CHECK(starved_questions(sets[0]) == std::pair(8, 3));
  const std::vector<StarvedHead> heads = starved_heads(sets[0]);
  REQUIRE(heads.size() == 3);
  CHECK(heads[0].correlation == Approx(1));
  CHECK(heads[0].kept_of_flipped == 0);
  CHECK(heads[0].kept == Approx(5. / 8));
  CHECK(std::isnan(heads[1].correlation));
  // Lost: .75 for odd n; flips: n = 0, 1, 2. Covariance (1/8) .75 - (.375)(3/8), deviations .375 and .484.
  CHECK(heads[2].correlation == Approx((0.75 / 8 - 0.375 * 0.375) / (0.375 * std::sqrt(0.375 * 0.625))));
}

TEST_CASE("the map of depths shares out what dense attention gets right") {
  std::vector<ResultRow> rows;
  for (int n = 0; n < 10; ++n)
    rows.push_back(row_of("anchor", {.id = std::to_string(n), .right = n != 0, .depth = n / 9.}));
  rows.push_back(row_of("anchor", {.id = "long", .length = 2048}));
  const std::vector<AnswerSet> sets = answer_sets(rows);
  const DepthMap map = depth_map(sets[0], 2);
  CHECK(map.lengths == std::vector<int>{1024, 2048});
  CHECK(map.kept[map.at(0, 0)] == Approx(0.8));
  CHECK(map.kept[map.at(1, 0)] == 1);
  CHECK(std::isnan(map.kept[map.at(0, 1)]));
  CHECK(map.questions == std::vector<int>{5, 0, 5, 1});
}
