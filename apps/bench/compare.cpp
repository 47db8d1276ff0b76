#include "bench/compare.hpp"

#include <fmt/format.h>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/rows/compare_runs.hpp"
#include "anchor/rows/read_rows.hpp"
#include "cli/number.hpp"
#include "cli/streams.hpp"

namespace anchor::bench {
namespace {

struct Options {
  std::string before, after;
  double margin = 0;
};

std::string describe(const ResultRow& row) {
  const Geometry g = row.geometry.value_or(Geometry{});
  std::string text = fmt::format("{:<10} {:>7} tokens {}/{} heads d {} {}", row.method, g.q_len, g.q_heads,
                                 g.kv_heads, g.head_dim, row.dtype);
  if (const auto step = row.params.find("step"); step != row.params.end())
    text += fmt::format(" step {}", scalar_text(step->second));
  if (row.target) text += fmt::format(" {} {}", row.target->metric, format_number(row.target->value));
  return text;
}

int compare(const Options& options) {
  const std::vector<ResultRow> before = read_rows(options.before), after = read_rows(options.after);
  const auto comparisons = compare_runs(before, after, options.margin);
  if (comparisons.empty()) fail("{} and {} have no configuration in common", options.before, options.after);
  int slower = 0;
  for (const RunComparison& c : comparisons) {
    const auto ms = [](const ResultRow& row) { return row.stats->median_ns / 1e6; };
    const char* verdict = "same";
    if (c.verdict == RunComparison::Verdict::faster) verdict = "faster";
    if (c.verdict == RunComparison::Verdict::slower) verdict = "slower", ++slower;
    if (c.verdict == RunComparison::Verdict::too_few_samples) verdict = "too few samples";
    fmt::print("{:<6} {:>6.3f}x  {:>10.4f} -> {:>10.4f} ms  {}\n", verdict, c.ratio, ms(c.before),
               ms(c.after), describe(c.after));
  }
  if (slower > 0)
    cli::print_note(
        fmt::format("anchor-bench: {} of {} configurations became slower", slower, comparisons.size()));
  return slower > 0 ? 4 : 0;
}

}  // namespace

void setup_compare(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("compare", "Say what became faster or slower between two files of rows");
  sub->footer(
      "anchor-bench compare before.jsonl after.jsonl\nanchor-bench compare main.jsonl branch.jsonl --margin "
      "0.02");
  sub->add_option("BEFORE", options->before, "Rows of the earlier run (jsonl)")->required();
  sub->add_option("AFTER", options->after, "Rows of the later run (jsonl)")->required();
  sub->add_option("--margin", options->margin, "Share of the median by which intervals must miss each other")
      ->check(cli::real_number(0))
      ->capture_default_str();
  sub->callback([options, &command] { command = [options] { return compare(*options); }; });
}

}  // namespace anchor::bench
