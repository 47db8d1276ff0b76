#include "recall/fronts.hpp"

#include <algorithm>
#include <chrono>

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

/// In the order in which they are read: exact curves, then grids of knobs, then methods that list keys row by
/// row, which take longest.
int stage(const MethodFront& front) {
  if (front.exact()) return 0;
  return front.run().method->rows_per_plan == 0 ? 1 : 2;
}

std::vector<MethodFront> fronts_of(const Options& options) {
  std::vector<MethodFront> fronts;
  for (const MethodRun& run : cli::resolve_methods(options.method))
    if (!run.method->knob.empty()) fronts.emplace_back(run, targets(), options.measure != "none");
  if (fronts.empty()) fail_usage("--pareto: no chosen method has a knob");
  std::ranges::stable_sort(fronts, {}, stage);
  return fronts;
}

/// Says how long it should take, by the time of one dense attention of the first KV group.
void announce(const Options& options, const DumpStream& stream, const StreamItem& first, std::size_t groups,
              std::span<const MethodFront> fronts) {
  double cost = 0;
  for (const MethodFront& front : fronts) cost += front.cost();
  double seconds = 0;
  const auto time_dense = [&](std::size_t, Engine& engine, const LoadedGroup& loaded) {
    if (!loaded.error.empty()) return;  // the fronts say so
    try {
      const auto inputs = engine.upload(loaded.group);
      const auto start = std::chrono::steady_clock::now();
      engine.dense_reference(*inputs);
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
    }
  };
  stream.run("front: estimate", std::span(&first, 1),
             {.wanted = nullptr, .compute = time_dense, .finish = nullptr});
  const double estimate = seconds * cost * static_cast<double>(groups);
  if (estimate >= 5)
    options.common.note(fmt::format("{} methods: about {:.0f} s, exact curves first, row by row last",
                                    fronts.size(), estimate));
}

/// Methods of one stage, which are read together.
std::vector<std::span<MethodFront>> batches(std::span<MethodFront> fronts) {
  std::vector<std::span<MethodFront>> parts;
  for (std::size_t begin = 0; begin < fronts.size();) {
    std::size_t end = begin;
    while (end < fronts.size() && stage(fronts[end]) == stage(fronts[begin])) ++end;
    parts.push_back(fronts.subspan(begin, end - begin));
    begin = end;
  }
  return parts;
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
  const std::vector<StreamItem> items = stream_items(reader, groups);
  announce(options, stream, items[0], items.size(), fronts);

  const FrontRows rows(options, reader, stream.engine(), groups);
  std::vector<MethodRun> runs;
  for (const MethodFront& front : fronts) runs.push_back(front.run());
  const std::vector<std::string> names = names_of(runs);
  std::vector<FrontAnswer> lines;
  std::vector<FrontLine> drawn;
  const bool errors = std::ranges::all_of(fronts, [](const MethodFront& front) { return front.measures(); });
  const auto print = [&](std::size_t n) {
    const MethodFront& front = fronts[n];
    output.row(rows.curve(front), cli::Audience::files);
    if (!front.error().empty()) {
      options.common.note(fmt::format("{}: {}", names[n], front.error()));
      return;
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
  };
  std::size_t next = 0;
  for (const std::span<MethodFront> part : batches(fronts)) {
    read_fronts(stream, items, part);
    for (; next < static_cast<std::size_t>(part.data() + part.size() - fronts.data()); ++next) print(next);
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
