#include "eval/match.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/tuning/method_front.hpp"
#include "cli/dump_stream.hpp"
#include "cli/number.hpp"

namespace anchor::eval {

void add_match(CLI::App& app, MatchOptions& options) {
  CLI::Option* match =
      app.add_option("--match", options.target,
                     "Find every method's knob: density=X over the tasks, or out_rel_l2=X over --match-on")
          ->type_name("METRIC=X")
          ->group("Method");
  app.add_option("--match-on", options.on, "The dump on which an output error is matched, of another text")
      ->needs(match)
      ->type_name("DUMP")
      ->group("Method");
  app.add_option("--match-tasks", options.questions, "How many of the tasks a density is matched on")
      ->needs(match)
      ->transform(cli::whole_number(1, 1'000'000))
      ->capture_default_str()
      ->type_name("N")
      ->group("Method");
}

std::optional<Target> match_target(const MatchOptions& options, bool own_knobs) {
  if (options.target.empty()) return {};
  Target target = parse_target(options.target, "--match", {"density", "out_rel_l2"});
  if (target.metric == "density") {
    if (!options.on.empty()) fail_usage("--match density is matched on the tasks: no --match-on with it");
    return target;
  }
  if (own_knobs)
    fail_usage(
        "--match {} looks for one knob of all heads; a file of thresholds is fitted for it instead: "
        "anchor-sweep fit --allocate layer --target {}",
        options.target, options.target);
  if (options.on.empty())
    fail_usage("--match {} needs --match-on DUMP: errors are matched on another text than the tasks",
               options.target);
  return target;
}

std::vector<std::size_t> match_sample(std::size_t count, int questions) {
  const std::size_t taken = std::min(count, static_cast<std::size_t>(questions));
  std::vector<std::size_t> sample;
  for (std::size_t n = 0; n < taken; ++n) sample.push_back((2 * n + 1) * count / (2 * taken));
  return sample;
}

MatchedRun match_error(const MethodRun& run, const Target& target, const MatchOptions& options,
                       const cli::CommonOptions& common) {
  const DumpReader reader = cli::open_dump(options.on, {});
  const std::vector<GroupSelection> groups = cli::select_groups(reader, {});
  const DumpStream stream =
      cli::open_stream(common, check_memory(reader, groups, common.memory_limit()), true);
  MethodFront front(run, {target}, true);
  read_fronts(stream, stream_items(reader, groups), std::span(&front, 1));
  if (!front.error().empty()) fail("{}: {}: {}", options.on, run.method->name, front.error());
  const std::optional<HeadsAt> found = front.answer(KnobsBy::global, 0);
  if (!found || !found->knob)
    fail("{}: no knob of {} reaches {} {}", options.on, run.method->name, target.metric,
         format_number(target.value));
  const KnobScale scale(*run.method, reader.layer(groups.front().layer).geometry);
  MatchedRun matched{run.params, {}, *found->knob, found->mean_density()};
  matched.params.set(run.method->knob, *found->knob);
  if (!run.method->second_budget.empty())
    matched.params = scale.params_at(run.params, scale.place(*found->knob));
  return matched;
}

}  // namespace anchor::eval
