#include "recall/fronts.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/report/figure_file.hpp"
#include "anchor/report/front_svg.hpp"
#include "cli/dump_stream.hpp"
#include "cli/output.hpp"
#include "recall/front_rows.hpp"

namespace anchor::recall {
namespace {

std::vector<Target> targets() {
  std::vector<Target> all;
  for (const double recall : {0.9, 0.95, 0.99}) all.push_back({"mass_recall", "mean", recall});
  for (const double error : {0.1, 0.05, 0.02}) all.push_back({"out_rel_l2", "mean", error});
  return all;
}

std::vector<MethodFront> fronts_of(const Options& options) {
  std::vector<MethodFront> fronts;
  for (const MethodRun& run : cli::resolve_methods(options.method))
    if (!run.method->knob.empty()) fronts.emplace_back(run, targets(), options.measure != "none");
  if (fronts.empty()) fail_usage("--pareto: no chosen method has a knob");
  return fronts;
}

/// What tells the runs apart; a group's size is never left out.
std::vector<std::string> names_of(const std::vector<MethodRun>& runs) {
  std::vector<std::string> names = run_names(runs);
  for (std::size_t n = 0; n < runs.size(); ++n) {
    const MethodRun& run = runs[n];
    if (!names[n].starts_with(run.method->name)) names[n] = run.method->name + " " + names[n];
    if (run.params.values().contains("step") && names[n].find("step=") == std::string::npos)
      names[n] += " step=" + format_number(run.params.real("step"));
  }
  return names;
}

/// `errors`: every method's are known, so that they can be shown side by side.
FrontLine picture_line(const MethodFront& front, const std::string& name, bool errors) {
  const Curve curve = front.mean_curve();
  FrontLine line{name, curve.density, curve.mass_recall, front.exact(), {}, {}};
  if (!errors) return line;
  const Target error{"out_rel_l2", "mean", 0};
  for (const HeadsAt& run : front.runs()) {
    line.error_density.push_back(run.mean_density());
    line.out_rel_l2.push_back(run.mean_loss(error));
  }
  return line;
}

}  // namespace

int run_fronts(const Options& options) {
  if (!options.thresholds.empty() || !options.svg.empty() || !options.head_map.empty())
    fail_usage(
        "--pareto tries every knob and draws one picture: no --thresholds, --svg or --head-map with it");
  check_figure_name(options.pareto);
  const DumpReader reader = cli::open_dump(options.dump.path, options.dump);
  const std::vector<GroupSelection> groups = cli::select_groups(reader, options.dump);
  std::vector<MethodFront> fronts = fronts_of(options);
  const DumpStream stream =
      cli::open_stream(options.common, check_memory(reader, groups, options.common.memory_limit()), true);
  cli::Output output(options.common, FrontRows::columns(), FrontRows::columns());
  OutputFile picture(options.pareto);
  read_fronts(stream, stream_items(reader, groups), fronts);

  const FrontRows rows(options, reader, stream.engine(), groups);
  std::vector<MethodRun> runs;
  for (const MethodFront& front : fronts) runs.push_back(front.run());
  const std::vector<std::string> names = names_of(runs);
  std::vector<FrontAnswer> lines;
  std::vector<FrontLine> drawn;
  const bool errors = std::ranges::all_of(fronts, [](const MethodFront& front) { return front.measures(); });
  for (std::size_t n = 0; n < fronts.size(); ++n) {
    const MethodFront& front = fronts[n];
    output.row(rows.curve(front), cli::Audience::files);
    if (!front.error().empty()) {
      options.common.note(fmt::format("{}: {}", names[n], front.error()));
      continue;
    }
    drawn.push_back(picture_line(front, names[n], errors));
    for (const KnobsBy by : {KnobsBy::global, KnobsBy::heads, KnobsBy::allocation}) {
      for (std::size_t t = 0; t < targets().size(); ++t) {
        const Target target = targets()[t];
        const bool of_error = target.metric != "mass_recall";
        if (of_error && (by == KnobsBy::allocation || !front.measures())) continue;
        for (const ResultRow& row : rows.answer(front, by, target, front.answer(by, t))) {
          output.row(row, cli::Audience::files);
          if (row.scope == "all") lines.push_back({names[n], by, target, row});
        }
      }
    }
  }
  if (drawn.empty()) {
    output.interrupt();
    fail("{}", fronts[0].error());
  }
  output.finish();
  if (output.markdown()) print_fronts(lines);
  const std::string& model = reader.header().model;
  const std::string title =
      fmt::format("{}: {} heads, {} tokens, one knob for all heads", model.empty() ? reader.path() : model,
                  fronts[0].heads().size(), reader.layer(groups[0].layer).geometry.q_len);
  picture.write(figure_bytes(front_svg(drawn, title), options.pareto));
  picture.commit();
  return drawn.size() < fronts.size() ? 3 : 0;
}

}  // namespace anchor::recall
