#include "anchor/report/figures.hpp"

#include <doctest/doctest.h>

#include <set>

#include "anchor/base/error.hpp"
#include "anchor/method/method.hpp"
#include "anchor/report/line_labels.hpp"
#include "anchor/report/oracle_note.hpp"
#include "support/sample_row.hpp"

using namespace anchor;
using test::sample_row;

namespace {

ResultRow kept(int head, const char* method, double knob, double density, double recall) {
  ResultRow row = sample_row(head);
  row.method = method;
  row.params = {{"knob", knob}};
  row.density = density;
  row.mass_recall = recall;
  return row;
}

ResultRow curve_row(int head, CurvePoints points) {
  ResultRow row = sample_row(head);
  row.kind = "curve";
  row.curve = std::move(points);
  return row;
}

ResultRow bench_row(const std::string& method, std::int64_t tokens, double median) {
  ResultRow row;
  row.kind = "bench";
  row.scope = "layer";
  row.method = method;
  row.geometry = Geometry{32, 8, tokens, tokens, 0, 128};
  row.dtype = "bf16";
  row.stats = {median, median - 1e6, median + 1e6, 9};
  return row;
}

}  // namespace

TEST_CASE("a method's settings are dots at the means over heads, ordered by density") {
  const std::vector<ResultRow> rows{kept(0, "a", 2, 0.4, 0.9), kept(1, "a", 2, 0.6, 1.0),
                                    kept(0, "a", 1, 0.2, 0.5), kept(1, "a", 1, 0.2, 0.7),
                                    kept(0, "b", 1, 0.3, 0.8)};
  const Chart chart = front_figure(rows);
  REQUIRE(chart.series.size() == 2);
  CHECK(chart.series[0].name == "a");
  CHECK(chart.series[0].x[0] == doctest::Approx(0.2));
  CHECK(chart.series[0].x[1] == doctest::Approx(0.5));
  CHECK(chart.series[0].y[0] == doctest::Approx(0.6));
  CHECK(chart.series[0].y[1] == doctest::Approx(0.95));
  CHECK(chart.series[0].line);
  CHECK_FALSE(chart.series[1].line);  // one setting is a dot
}

TEST_CASE("rows that failed, and those of other kinds, are in no figure") {
  ResultRow failed = kept(0, "a", 1, 0.5, 0.5);
  failed.fail("torn");
  ResultRow layer = kept(0, "a", 1, 0.5, 0.5);
  layer.scope = "layer";
  const std::vector<ResultRow> rows{failed, layer, sample_row(0)};
  CHECK(front_figure(rows).series.size() == 1);  // sample_row alone
  CHECK_THROWS_WITH_AS(front_figure(std::vector{failed, layer}), doctest::Contains("--curves"), Error);
  CHECK_THROWS_WITH_AS(curves_figure(rows), doctest::Contains("curve rows"), Error);
  CHECK_THROWS_WITH_AS(bench_figure(rows), doctest::Contains("bench rows"), Error);
}

TEST_CASE("every head's curve is drawn, and their mean under one knob") {
  const std::vector<ResultRow> rows{
      curve_row(0, {{-HUGE_VAL, 1, 2}, {0.1, 0.3, 0.5}, {0.2, 0.6, 1}, {}, {}, {}}),
      curve_row(1, {{-HUGE_VAL, 2}, {0.1, 0.9}, {0.4, 1}, {}, {}, {}})};
  const Chart chart = curves_figure(rows);
  REQUIRE(chart.series.size() == 3);
  CHECK(chart.series[0].x == rows[0].curve->density);
  CHECK(chart.series[1].y == rows[1].curve->mass_recall);
  CHECK(chart.series[0].faint);
  const Chart::Series& mean = chart.series[2];
  CHECK(mean.name == "anchor, mean");
  CHECK(mean.x.front() == doctest::Approx(0.1));  // at -inf: both heads' first points
  CHECK(mean.y.front() == doctest::Approx(0.3));
  CHECK(mean.x.back() == doctest::Approx(0.7));  // at 2: both heads' last
  CHECK(mean.y.back() == doctest::Approx(1));
}

TEST_CASE("timings are lines by length, with their intervals in milliseconds") {
  ResultRow untimed = bench_row("a", 4096, 1);
  untimed.stats.reset();
  ResultRow targeted = bench_row("a", 1024, 7e6);
  targeted.target = Target{"stripe_density", "layer", 0.03};
  targeted.params["step"] = 4.;
  const std::vector<ResultRow> rows{bench_row("a", 2048, 4e6), bench_row("a", 1024, 2e6), untimed, targeted};
  const Chart chart = bench_figure(rows);
  REQUIRE(chart.series.size() == 2);
  CHECK(chart.series[0].name == "a");
  CHECK(chart.series[0].x == std::vector<double>{1024, 2048});
  CHECK(chart.series[0].y == std::vector<double>{2, 4});
  CHECK(chart.series[0].low == std::vector<double>{1, 3});
  CHECK(chart.series[0].high == std::vector<double>{3, 5});
  CHECK(chart.series[1].name == "a step 4 at stripe_density 0.03");
  CHECK(chart.x_ticks == std::vector<double>{1024, 2048});
}

TEST_CASE(
    "names say what differs; a note under the chart says the device, its clocks and what all have in "
    "common") {
  ResultRow one = bench_row("a", 1024, 1e6), other = bench_row("b", 1024, 2e6),
            third = bench_row("b", 2048, 2e6);
  for (ResultRow* row : {&one, &other, &third}) {
    row->device = "NVIDIA H200";
    row->params["step"] = 4.;
    row->params["tail"] = std::string("auto");
    row->env["sm_clock_mhz"] = row == &third ? 1800. : 1980.;
  }
  const Chart chart = bench_figure(std::vector{one, other, third});
  CHECK(chart.series[0].name == "a");
  CHECK(chart.series[1].name == "b");
  REQUIRE(chart.notes.size() == 1);
  for (const char* words :
       {"NVIDIA H200", "1800 to 1980 MHz", "32/8 heads of 128, bf16", "a step 4", "b step 4"})
    CHECK(chart.notes[0].find(words) != std::string::npos);
  const std::string svg = svg_chart(chart);
  CHECK(svg.find("NVIDIA H200") != std::string::npos);
  third.params["step"] = 16.;
  const Chart steps = bench_figure(std::vector{one, other, third});
  CHECK(steps.series[2].name == "b step 16");
  CHECK(bench_figure(std::vector{bench_row("a", 1024, 1e6)}).notes[0].find("clocks not recorded") !=
        std::string::npos);
}

TEST_CASE("an oracle's curve comes with what it forces and what it bounds") {
  const Chart chart =
      front_figure(std::vector{kept(0, "stripe-oracle", 1, 0.5, 0.9), kept(0, "anchor", 1, 0.4, 0.8)});
  REQUIRE(chart.notes.size() == 1);
  CHECK(chart.notes[0].find("forced") != std::string::npos);
  CHECK(front_figure(std::vector{kept(0, "anchor", 1, 0.4, 0.8)}).notes.empty());
  for (const Method& method : methods())
    CHECK(oracle_note(method.name).empty() == !method.title.starts_with("Oracle"));
}

TEST_CASE("thirteen methods differ in colour or dash, and each has its name once") {
  std::vector<ResultRow> rows;
  for (int n = 0; n < 13; ++n)
    for (const double knob : {1., 2.})
      rows.push_back(kept(0, ("method" + std::to_string(n)).c_str(), knob, 0.1 * knob, 0.4 * knob));
  const std::string svg = svg_chart(front_figure(rows));
  std::set<std::string> styles;
  for (std::size_t n = 0; n < 32; ++n) styles.insert(line_style(n));
  CHECK(styles.size() == 32);
  for (int n = 0; n < 13; ++n) {
    const std::string name = ">method" + std::to_string(n) + "<";
    CHECK(svg.find(name) != std::string::npos);
    CHECK(svg.find(name) == svg.rfind(name));
    CHECK(svg.find(line_style(static_cast<std::size_t>(n)) + ";stroke-width") != std::string::npos);
  }
}
