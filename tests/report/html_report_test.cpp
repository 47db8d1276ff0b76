#include "anchor/report/html_report.hpp"

#include <doctest/doctest.h>

#include "anchor/report/base64.hpp"
#include "support/sample_row.hpp"

using namespace anchor;
using test::sample_row;

namespace {

Json data_of(const HtmlReport& report) {
  const std::string page = report.render({"anchor-report"});
  const std::string start = "id=\"data\">";
  const auto begin = page.find(start) + start.size();
  return Json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

ResultRow row_at(int head, double theta) {
  ResultRow row = sample_row(head);
  row.params["theta"] = theta;
  row.unit = unit_id(row, {});
  return row;
}

}  // namespace

TEST_CASE("rows of one unit count once: the last one") {
  HtmlReport report;
  ResultRow later = sample_row(0);
  later.density = 0.75;
  for (const ResultRow& row : {sample_row(0), sample_row(1), later}) report.row(row);
  const Json data = data_of(report);
  REQUIRE(data["runs"].size() == 1);
  const std::vector<float> density{0.75f, static_cast<float>(1.0 / 3)};
  CHECK(data["runs"][0]["metrics"]["density"] == base64_of(std::span<const float>(density)));
  CHECK(data["sources"][0]["rows"] == 2);
}

TEST_CASE(
    "parameters that differ between heads are values of heads; where a head repeats, they tell runs apart") {
  HtmlReport by_head, by_run;
  for (const int head : {0, 1}) by_head.row(row_at(head, 3 + head));
  const Json one = data_of(by_head)["runs"];
  REQUIRE(one.size() == 1);
  CHECK_FALSE(one[0]["params"].contains("theta"));
  CHECK(one[0]["params"]["block"] == 128);
  const std::vector<float> thetas{3, 4};
  CHECK(one[0]["metrics"]["theta"] == base64_of(std::span<const float>(thetas)));

  for (const double theta : {3., 4.})
    for (const int head : {0, 1}) by_run.row(row_at(head, theta));
  const Json two = data_of(by_run)["runs"];
  REQUIRE(two.size() == 2);
  CHECK(two[0]["params"]["theta"] == 3);
  CHECK(two[1]["params"]["theta"] == 4);
}

TEST_CASE("a failed head keeps its place and its reason, and has no value") {
  HtmlReport report;
  ResultRow failed = sample_row(1);
  failed.fail("NaN in q");
  failed.density.reset();
  report.row(sample_row(0));
  report.row(failed);
  const Json run = data_of(report)["runs"][0];
  CHECK(run["errors"]["3:1"] == "NaN in q");
  const std::vector<float> density{static_cast<float>(1.0 / 3), std::numeric_limits<float>::quiet_NaN()};
  CHECK(run["metrics"]["density"] == base64_of(std::span<const float>(density)));
}

TEST_CASE("every row goes where it is shown, and names its command once") {
  HtmlReport report;
  ResultRow bench = sample_row(0), table = sample_row(0), curve = sample_row(0);
  bench.kind = "bench";
  bench.scope = "layer";
  table.scope = "all";
  table.layer.reset();
  table.head.reset();
  curve.kind = "curve";
  curve.curve = CurvePoints{{-HUGE_VAL, 1}, {0.1, 1}, {0.5, 1}, {}, {}, {}};
  for (ResultRow* row : {&bench, &table, &curve}) {
    row->unit.clear();  // as another program may write them
    row->argv = {"made", "by"};
    report.row(*row);
  }
  const Json data = data_of(report);
  CHECK(data["bench"].size() == 1);
  CHECK(data["tables"].size() == 1);
  CHECK(data["curves"].size() == 1);
  CHECK(data["curves"][0]["heads"][0]["layer"] == 3);
  CHECK(data["runs"].empty());
  REQUIRE(data["sources"].size() == 1);
  CHECK(data["sources"][0]["argv"] == Json{"made", "by"});
  CHECK_FALSE(data["bench"][0].contains("argv"));
}

TEST_CASE("no name in a row ends the script, and bytes that are no text are replaced") {
  HtmlReport report;
  ResultRow row = sample_row(0);
  row.model = "</script><script>alert(1)\xff";
  report.row(row);
  const std::string page = report.render({});
  CHECK(page.find("<script>alert") == std::string::npos);
  CHECK(data_of(report)["runs"][0]["model"].get<std::string>().starts_with("</script><script>alert(1)"));
}
