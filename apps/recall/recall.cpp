#include "recall/recall.hpp"

#include <algorithm>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/replay/replay.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/report/heatmap.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "cli/terminal.hpp"
#include "cli/threshold_options.hpp"
#include "recall/fronts.hpp"
#include "recall/head_map_svg.hpp"
#include "recall/run_rows.hpp"
#include "recall/sparsity.hpp"

namespace anchor::recall {
namespace {

void check(const Options& options, std::size_t runs);

/// All runs over all selected groups of one dump.
class Job {
 public:
  explicit Job(const Options& options)
      : options_(options),
        reader_(cli::open_dump(options.dump.path, options.dump)),
        groups_(cli::select_groups(reader_, options.dump)) {
    if (options.thresholds.empty()) {
      runs_ = cli::resolve_methods(options.method);
    } else {
      thresholds_ = read_thresholds(options.thresholds);
      runs_ = {cli::thresholds_run(*thresholds_, options.thresholds, options.method)};
      for (const GroupSelection& group : groups_)
        thresholds_->check(*runs_[0].method, group.layer, group.heads, options.thresholds);
    }
    for (const MethodRun& run : runs_)
      states_.push_back(run.method->model_state ? run.method->model_state(run.params) : nullptr);
    check(options, runs_.size());
    for (const MethodRun& run : runs_) done_.names.push_back(run_name(run));
    group_bytes_ = check_memory(reader_, groups_, options.common.memory_limit());
  }

  int run();
  int draw_head_map();

 private:
  PlanRequest request(const MethodRun& run, const GroupSelection& group) const {
    PlanRequest made{run.params, {}};
    made.layer = group.layer;
    made.first_q_head = group.first_head;
    made.state = states_[static_cast<std::size_t>(&run - runs_.data())];
    if (thresholds_) {
      const Geometry& g = reader_.layer(group.layer).geometry;
      std::vector<int> heads(static_cast<std::size_t>(g.q_heads / g.kv_heads), -1);
      for (const int head : group.heads) heads[static_cast<std::size_t>(head - group.first_head)] = head;
      thresholds_->apply(*run.method, group.layer, heads, options_.thresholds, made);
    }
    return made;
  }

  std::vector<Column> columns_for_eyes() const;
  std::vector<ResultRow> templates(const GroupSelection& group) const;
  void compute(const GroupSelection& group, Engine& engine, const LoadedGroup& loaded,
               std::vector<ResultRow>& rows) const;
  void emit(const ResultRow& row);
  void draw_heatmaps() const;
  std::string run_name(const MethodRun& run) const;
  void warn_of_large_region() const;

  const Options& options_;
  DumpReader reader_;
  std::vector<GroupSelection> groups_;
  std::vector<MethodRun> runs_;
  /// Of methods that carry patterns from head to head: one prompt's, so that groups run in order and none is
  /// skipped.
  std::vector<std::shared_ptr<ModelState>> states_;
  std::optional<Thresholds> thresholds_;
  std::int64_t group_bytes_ = 0;  ///< host memory for work on one group
  std::optional<DumpStream> stream_;
  std::optional<cli::RunShell> shell_;
  RunRows done_;
};

std::vector<Column> columns(const std::vector<MethodRun>& runs) {
  std::vector<Column> all{{"dump.layer"}, {"dump.head"}, {"status"}, {"error"}, {"method"}};
  std::vector<std::string> names;
  for (const MethodRun& run : runs) {
    for (const auto& [name, value] : run.params.values()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  for (const std::string& name : names) all.push_back({"params." + name});
  for (const char* name : {"density", "work_density", "stripe_density", "mass_recall", "mass_recall_p05",
                           "mass_recall_min", "output_recall_0.01", "output_recall_0.005", "out_rel_l2",
                           "out_max_abs", "out_mean_abs", "path", "plan_path", "unit"}) {
    all.push_back({name});
  }
  return all;
}

std::vector<Column> Job::columns_for_eyes() const {
  std::vector<Column> eye{{"dump.layer", -1, "layer"}, {"dump.head", -1, "head"}};
  std::vector<const Method*> methods;
  for (const MethodRun& run : runs_) {
    if (std::find(methods.begin(), methods.end(), run.method) == methods.end()) methods.push_back(run.method);
  }
  if (methods.size() > 1) eye.push_back({"method"});
  const bool knob_differs = thresholds_ || runs_.size() > methods.size();
  if (knob_differs && methods.size() == 1) eye.push_back({"params." + methods[0]->knob, 3});
  for (const char* name : {"density", "mass_recall", "mass_recall_min", "output_recall_0.01", "out_rel_l2",
                           "work_density", "mass_recall_p05", "output_recall_0.005", "out_max_abs"}) {
    eye.push_back({name, 4});
  }
  return eye;
}

/// "anchor theta=12", "anchor theta per head"
std::string Job::run_name(const MethodRun& run) const {
  const std::string& knob = run.method->knob;
  if (knob.empty()) return run.method->name;
  if (thresholds_) return fmt::format("{} {} per head", run.method->name, knob);
  return fmt::format("{} {}={}", run.method->name, knob, format_number(run.params.real(knob)));
}

/// The rows of a group before anything is computed, by head and run, with their units.
std::vector<ResultRow> Job::templates(const GroupSelection& group) const {
  const std::vector<std::uint64_t> content = layer_content(reader_, group.layer);
  std::vector<ResultRow> rows;
  for (const int head : group.heads) {
    for (const MethodRun& run : runs_) {
      ResultRow row = head_row(reader_, group.layer, head);
      row.kind = "recall";
      const PlanRequest asked = request(run, group);
      const int local = head - group.first_head;
      stamp(row, stream_->engine(), {run.method, asked.of(local)}, options_.argv);
      if (!run.method->knob.empty()) row.params[run.method->knob] = asked.knob(run.method->knob, local);
      std::vector<std::uint64_t> identity = content;
      if (options_.stats) identity.push_back(1);
      row.unit = unit_id(row, identity);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

/// Fills the rows of a group. What is wrong with its data fails its rows; what is wrong with the request
/// throws.
void Job::compute(const GroupSelection& group, Engine& engine, const LoadedGroup& loaded,
                  std::vector<ResultRow>& rows) const {
  const auto fail_rows = [&](std::size_t first, std::size_t step, const std::string& why) {
    for (std::size_t n = first; n < rows.size(); n += step) rows[n].fail(why);
  };
  if (!loaded.error.empty()) return fail_rows(0, 1, loaded.error);
  std::unique_ptr<Inputs> inputs;
  std::unique_ptr<DenseReference> dense;
  try {
    inputs = engine.upload(loaded.group);
    dense = engine.dense_reference(*inputs);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    return fail_rows(0, 1, error.what());
  }
  for (std::size_t n = 0; n < runs_.size(); ++n) {
    try {
      const PlanRequest asked = request(runs_[n], group);
      const Replay result = replay(engine, *inputs, *runs_[n].method, asked, *dense);
      const std::vector<Json> sparsity =
          options_.stats ? sparsity_json(engine, *inputs, *runs_[n].method, asked) : std::vector<Json>();
      for (std::size_t h = 0; h < group.heads.size(); ++h) {
        ResultRow& row = rows[h * runs_.size() + n];
        const HeadReplay& head = result.heads[static_cast<std::size_t>(group.heads[h] - group.first_head)];
        row.plan_path = result.plan_path;
        if (options_.stats)
          row.sparsity = sparsity[static_cast<std::size_t>(group.heads[h] - group.first_head)];
        fill_measured(row, head);
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      fail_rows(n, runs_.size(), error.what());
    }
  }
}

void Job::emit(const ResultRow& row) {
  done_.rows.push_back(shell_->emit_result(row));
  done_.rows.back().env.clear();  // bulk that no table shows
  done_.rows.back().argv.clear();
}

int Job::run() {
  const bool in_order = std::any_of(states_.begin(), states_.end(), [](const auto& state) { return state; });
  stream_.emplace(cli::open_stream(options_.common, group_bytes_, in_order));
  shell_.emplace(options_.common, columns_for_eyes(), columns(runs_));
  shell_->output().shorten({"mass_recall", cli::Selection::Order::least, "that keep least"});
  const std::vector<StreamItem> items = stream_items(reader_, groups_);
  std::vector<std::vector<ResultRow>> rows(items.size());  // of the groups on their way
  shell_->run([&] {
    stream_->run("recall: KV group", items,
                 {.wanted =
                      [&](std::size_t n) {
                        rows[n] = templates(groups_[n]);
                        return in_order || !shell_->all_finished(rows[n]);
                      },
                  .compute = [&](std::size_t n, Engine& engine,
                                 const LoadedGroup& loaded) { compute(groups_[n], engine, loaded, rows[n]); },
                  .finish =
                      [&](std::size_t n) {
                        for (const ResultRow& row : rows[n]) emit(row);
                        rows[n] = {};
                      }});
  });
  shell_->finish();
  warn_of_large_region();
  const bool markdown = shell_->markdown();
  if (markdown) {
    fmt::print("\n{}", summary_table(done_, cli::terminal_width()));
    std::fflush(stdout);
  }
  if (markdown && options_.stats) print_sparsity(done_.rows);
  draw_heatmaps();
  return shell_->exit_code();
}

/// Says so when what a method with groups keeps anyway is most of the work.
void Job::warn_of_large_region() const {
  for (std::size_t n = 0; n < runs_.size() && n < done_.rows.size(); ++n) {
    const ResultRow& row = done_.rows[n];
    if (!row.ok() || !runs_[n].params.values().contains("step")) continue;
    const double region = *row.density - *row.stripe_density;
    if (const std::string hint = cli::region_hint(region, runs_[n].params); !hint.empty()) {
      options_.common.note(hint);
    }
  }
}

void Job::draw_heatmaps() const {
  const bool in_terminal = options_.heatmap || (shell_->markdown() && cli::stdout_is_terminal());
  if (!in_terminal && options_.svg.empty()) return;
  for (std::size_t n = 0; n < runs_.size(); ++n) {
    const Heatmap map = metric_heatmap(done_, n, options_.metric, reader_.header().model);
    if (in_terminal) {
      const int width = std::min(cli::terminal_width(), 120);
      Heatmap shown = map;
      shown.title = cli::one_line(map.title, width);
      fmt::print(shell_->markdown() ? stdout : stderr, "\n{}{}",
                 terminal_heatmap(shown, cli::terminal_colors(), width), layer_bars(done_, n, width));
    }
    if (!options_.svg.empty()) write_text_file(options_.svg, svg_heatmap(map));
  }
}

/// --head-map L:H --svg F: the picture alone, no rows.
int Job::draw_head_map() {
  const auto place =
      parse_list(std::string(options_.head_map).replace(options_.head_map.find(':'), 1, ","), "--head-map");
  cli::DumpOptions one = options_.dump;
  one.layers = format_number(place[0]);
  one.heads = format_number(place[1]);
  const GroupSelection group = cli::select_groups(reader_, one).front();
  OutputFile file(options_.svg);
  const std::unique_ptr<Engine> engine = cli::open_engine(options_.common);
  file.write(head_map_svg(*engine, reader_, group.layer, group.heads[0], *runs_[0].method,
                          request(runs_[0], group)));
  file.commit();
  return 0;
}

/// Flags that make no sense together.
void check(const Options& options, std::size_t runs) {
  if (!options.svg.empty() && runs > 1)
    fail_usage("--svg shows one method with one set of parameters, not {}", runs);
  if (options.head_map.empty()) return;
  const auto place = split_list(options.head_map, "--head-map");
  if (place.size() != 1 || std::count(place[0].begin(), place[0].end(), ':') != 1) {
    fail_usage("--head-map {}: write LAYER:HEAD, such as 12:3", options.head_map);
  }
  if (options.svg.empty()) fail_usage("--head-map needs --svg FILE");
  if (!options.common.out.empty() || options.heatmap)
    fail_usage("--head-map draws one picture; it prints no rows and no heatmap");
}

}  // namespace

void setup(CLI::App& app, Options& options) {
  app.footer(
      R"(anchor-recall dump.h5 --theta 12 --step 1
  | layer | head | density | mass_recall | mass_recall_min | output_recall_0.01 |
  |------:|-----:|--------:|------------:|----------------:|-------------------:|
  |    17 |    0 |  0.6137 |      0.9179 |          0.0665 |             0.6681 |
  |    17 |    1 |  0.5876 |      0.9830 |          0.4064 |             0.8906 |
  |    17 |    2 |  0.5724 |      0.9874 |          0.6451 |             0.8972 |
  
  | mean over heads | density | mass_recall | out_rel_l2 |    worst head |
  |----------------:|--------:|------------:|-----------:|--------------:|
  | anchor theta=12 |  0.5912 |      0.9628 |     0.1648 | 0.9179 (17:0) |
  
  mass_recall of anchor theta=12 (SmolLM2-135M-Instruct layer 17 heads 3-5)
   head   0     1     2
     17   .918  .983  .987
anchor-recall dump.h5 --method anchor,streaming --layers 0-3 -o rows.jsonl)");
  cli::add_dump(app, options.dump);
  cli::add_method(app, options.method, options.argv);
  app.add_option("--thresholds", options.thresholds, "One knob value per head, from anchor-sweep")
      ->type_name("FILE");
  app.add_flag("--stats", options.stats,
               "Density by position, persistence and sharing of stripes, sink share, places of row maxima");
  app.add_flag("--heatmap", options.heatmap, "Layer x head heatmap in the terminal (default on one)");
  app.add_option("--svg", options.svg, "Layer x head heatmap as SVG")->type_name("FILE");
  app.add_option("--metric", options.metric, "What heatmaps show")
      ->check(CLI::IsMember({"density", "work_density", "stripe_density", "mass_recall", "mass_recall_p05",
                             "mass_recall_min", "output_recall_0.01", "output_recall_0.005", "out_rel_l2",
                             "out_max_abs", "out_mean_abs"}))
      ->type_name("FIELD")
      ->capture_default_str();
  app.add_option("--head-map", options.head_map,
                 "With --svg: one head's attention mass and what the plan keeps")
      ->type_name("LAYER:HEAD");
  app.add_option(
         "--pareto", options.pareto,
         "Instead of single knobs: every method's recall over density, and the density that mean recalls "
         "and output errors need, with one knob for all heads, one per head, or recall allocated")
      ->type_name("F.svg");
  app.add_option("--measure", options.measure,
                 "With --pareto: none = no plans of methods with exact curves are run, and no errors known")
      ->check(CLI::IsMember({"all", "none"}))
      ->capture_default_str()
      ->type_name("WHICH");
  cli::add_output(app, options.common);
  cli::add_device(app, options.common);
  cli::add_common(app, options.common);
}

int run(const Options& options) {
  if (!options.pareto.empty()) return run_fronts(options);
  Job job(options);
  return options.head_map.empty() ? job.run() : job.draw_head_map();
}

}  // namespace anchor::recall
