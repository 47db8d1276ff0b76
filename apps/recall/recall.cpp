#include "recall/recall.hpp"

#include <algorithm>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/base/text_file.hpp"
#include "anchor/replay/replay_rows.hpp"
#include "anchor/replay/row_selection.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/report/figure_file.hpp"
#include "anchor/report/heatmap.hpp"
#include "anchor/report/make_head_map.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "cli/streams.hpp"
#include "cli/terminal.hpp"
#include "cli/threshold_options.hpp"
#include "recall/fronts.hpp"
#include "recall/run_rows.hpp"
#include "recall/sparsity.hpp"

namespace anchor::recall {
namespace {

void check(const Options& options, std::size_t runs);

/// All runs over all selected groups of one dump.
class DumpReplay {
 public:
  explicit DumpReplay(const Options& options)
      : options_(options),
        reader_(cli::open_dump(options.dump.path, options.dump)),
        groups_(cli::select_groups(reader_, options.dump)) {
    if (options.thresholds.empty()) {
      runs_ = cli::resolve_methods(options.method);
    } else {
      thresholds_ = read_thresholds(options.thresholds);
      runs_ = {cli::thresholds_run(*thresholds_, options.thresholds, options.method)};
      for (const GroupSelection& group : groups_)
        thresholds_->check(*runs_[0].method, group.layer, reader_.layer(group.layer).geometry, group.heads,
                           options.thresholds);
      cli::note_other_model(*thresholds_, options.thresholds, reader_.path(), reader_.header().model,
                            options.common);
    }
    for (const MethodRun& run : runs_)
      states_.push_back(run.method->model_state ? run.method->model_state(run.params) : nullptr);
    check(options, runs_.size());
    for (const GroupSelection& group : groups_) (void)metric_rows(group);
    for (const MethodRun& run : runs_) done_.names.push_back(run_title(run, thresholds_.has_value()));
    context_ = context();
    group_bytes_ = check_memory(reader_, groups_, options.common.memory_limit());
  }

  int run();
  int draw_head_map();
  int run_context();

 private:
  ResultRow context_row(std::size_t run, const ContextSplit& split, std::optional<int> layer) const;
  PlanRequest request(std::size_t run, const GroupSelection& group) const;
  ReplayRows rows_of(const GroupSelection& group) const;
  std::optional<RowRange> metric_rows(const GroupSelection& group) const;
  std::vector<std::uint64_t> context() const;
  std::vector<Column> columns_for_eyes() const;
  void emit(const ResultRow& row);
  void draw_heatmaps();
  void warn_of_large_region() const;

  const Options& options_;
  DumpReader reader_;
  std::vector<GroupSelection> groups_;
  std::vector<MethodRun> runs_;
  /// States of one prompt, for methods that carry patterns from head to head: groups run in order and none is
  /// skipped.
  std::vector<std::shared_ptr<ModelState>> states_;
  std::vector<std::uint64_t> context_;
  std::optional<Thresholds> thresholds_;
  std::int64_t group_bytes_ = 0;  ///< host memory for work on one group
  std::optional<DumpStream> stream_;
  std::optional<cli::RunShell> shell_;
  std::optional<OutputFile> svg_;
  RunRows done_;
};

PlanRequest DumpReplay::request(std::size_t run, const GroupSelection& group) const {
  PlanRequest made{runs_[run].params, {}};
  made.layer = group.layer;
  made.first_q_head = group.first_head;
  made.state = states_[run];
  if (thresholds_) {
    const Geometry& g = reader_.layer(group.layer).geometry;
    std::vector<int> heads(static_cast<std::size_t>(g.q_heads / g.kv_heads), -1);
    for (const int head : group.heads) heads[static_cast<std::size_t>(head - group.first_head)] = head;
    thresholds_->apply(*runs_[run].method, group.layer, heads, options_.thresholds, made);
  }
  return made;
}

ReplayRows DumpReplay::rows_of(const GroupSelection& group) const {
  std::vector<MethodRequest> methods;
  for (std::size_t n = 0; n < runs_.size(); ++n) methods.push_back({runs_[n].method, request(n, group)});
  return {group, std::move(methods), options_.stats, context_, metric_rows(group)};
}

/// --rows in that layer; a usage error if it has not so many.
std::optional<RowRange> DumpReplay::metric_rows(const GroupSelection& group) const {
  if (options_.rows.empty()) return {};
  return RowSelection(options_.rows).in(reader_.layer(group.layer).geometry.q_len);
}

/// What patterns that are carried from head to head depend on: all selected heads, and files of parameters.
std::vector<std::uint64_t> DumpReplay::context() const {
  std::vector<std::uint64_t> content;
  if (std::ranges::none_of(states_, [](const auto& state) { return state != nullptr; })) return content;
  for (const GroupSelection& group : groups_) {
    for (const std::uint64_t hash : layer_content(reader_, group.layer)) content.push_back(hash);
    for (const int head : group.heads) content.push_back(static_cast<std::uint64_t>(head));
  }
  for (const MethodRun& run : runs_) {
    for (const ParamSpec& spec : run.method->params) {
      if (spec.kind != ParamSpec::Kind::text) continue;
      const std::string& file = run.params.choice(spec.name);
      if (!file.empty()) content.push_back(option_hash(read_text_file(file)));
    }
  }
  return content;
}

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
                           "mass_recall_min", "peak_recall_0.25", "peak_recall_0.0625", "peak_pairs_0.25",
                           "peak_pairs_0.0625", "output_recall_0.01", "output_recall_0.005", "out_rel_l2",
                           "out_max_abs", "out_mean_abs", "path", "plan_path", "unit"}) {
    all.push_back({name});
  }
  return all;
}

std::vector<Column> DumpReplay::columns_for_eyes() const {
  std::vector<Column> eye{{"dump.layer", -1, "layer"}, {"dump.head", -1, "head"}};
  std::vector<const Method*> methods;
  for (const MethodRun& run : runs_) {
    if (std::find(methods.begin(), methods.end(), run.method) == methods.end()) methods.push_back(run.method);
  }
  if (methods.size() > 1) eye.push_back({"method"});
  const bool knob_differs = thresholds_ || runs_.size() > methods.size();
  if (knob_differs && methods.size() == 1) eye.push_back({"params." + methods[0]->knob, 3});
  for (const char* name :
       {"density", "mass_recall", "mass_recall_min", "output_recall_0.01", "peak_recall_0.25", "out_rel_l2",
        "work_density", "mass_recall_p05", "output_recall_0.005", "out_max_abs"}) {
    eye.push_back({name, 4});
  }
  return eye;
}

void DumpReplay::emit(const ResultRow& row) {
  done_.rows.push_back(shell_->emit_result(row));
  done_.rows.back().env.clear();  // bulk that no table shows
  done_.rows.back().argv.clear();
}

int DumpReplay::run() {
  const bool in_order = std::any_of(states_.begin(), states_.end(), [](const auto& state) { return state; });
  stream_.emplace(cli::open_stream(options_.common, group_bytes_, in_order));
  shell_.emplace(options_.common, columns_for_eyes(), columns(runs_));
  if (!options_.svg.empty()) svg_.emplace(options_.svg);
  shell_->output().shorten({"mass_recall", cli::Selection::Order::least, "that keep least"});
  const std::vector<StreamItem> items = stream_items(reader_, groups_);
  std::vector<std::vector<ResultRow>> rows(items.size());  // of the groups on their way
  const Engine& any = stream_->engine();
  shell_->run([&] {
    stream_->run(
        "recall: KV group", items,
        {.wanted =
             [&](std::size_t n) {
               rows[n] = rows_of(groups_[n]).templates(reader_, any, options_.argv);
               return in_order || !shell_->all_finished(rows[n]);
             },
         .compute = [&](std::size_t n, Engine& engine,
                        const LoadedGroup& loaded) { rows_of(groups_[n]).fill(rows[n], engine, loaded); },
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
    cli::print_out(fmt::format("\n{}", summary_table(done_, cli::terminal_width())));
  }
  if (markdown && options_.stats) print_sparsity(done_.rows);
  draw_heatmaps();
  if (svg_) svg_->commit();
  return shell_->exit_code();
}

/// Says so when what a method with groups keeps anyway is most of the work, or a method keeps nearly all.
void DumpReplay::warn_of_large_region() const {
  for (std::size_t n = 0; n < runs_.size() && n < done_.rows.size(); ++n) {
    const ResultRow& row = done_.rows[n];
    if (!row.ok()) continue;
    std::string hint;
    if (runs_[n].params.values().contains("step"))
      hint = cli::region_hint(row.density.value_or(0) - row.stripe_density.value_or(0), runs_[n].params);
    if (hint.empty() && row.density && row.geometry)
      hint = dense_hint(runs_[n], *row.density, row.geometry->kv_len);
    if (!hint.empty()) options_.common.note(hint);
  }
}

void DumpReplay::draw_heatmaps() {
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
    if (svg_) svg_->write(figure_bytes(svg_heatmap(map), options_.svg));
  }
}

/// --head-map L:H --svg F: the picture alone, no rows.
int DumpReplay::draw_head_map() {
  const auto place =
      parse_list(std::string(options_.head_map).replace(options_.head_map.find(':'), 1, ","), "--head-map");
  cli::DumpOptions one = options_.dump;
  one.layers = format_number(place[0]);
  one.heads = format_number(place[1]);
  const GroupSelection group = cli::select_groups(reader_, one).front();
  OutputFile file(options_.svg);
  const std::unique_ptr<Engine> engine = cli::open_engine(options_.common);
  const HeadMap map =
      make_head_map(*engine, reader_, group.layer, group.heads[0], *runs_[0].method, request(0, group));
  file.write(figure_bytes(svg_head_map(map), options_.svg));
  file.commit();
  return 0;
}

std::vector<Column> context_columns() {
  return {{"dump.layer", -1, "layer"},
          {"method"},
          {"layout"},
          {"ranks"},
          {"density", 4},
          {"pairs_imbalance", 3, "pairs"},
          {"work_imbalance", 3, "work"},
          {"work_ratio", 3, "tiles"},
          {"moved_share", 3, "keys moved"},
          {"hop_bytes", 0, "hop bytes"}};
}

ResultRow DumpReplay::context_row(std::size_t run, const ContextSplit& split,
                                  std::optional<int> layer) const {
  ResultRow row = layer_row(reader_, layer.value_or(groups_[0].layer));
  row.kind = "context";
  row.scope = layer ? "layer" : "all";
  if (!layer) row.layer.reset();
  stamp(row, stream_->engine(), runs_[run], options_.argv);
  row.params = runs_[run].params.values();
  row.extra["layout"] = std::string(name_of(split.layout()));
  row.extra["ranks"] = static_cast<double>(split.ranks());
  std::vector<std::uint64_t> content = context_;
  if (thresholds_) content.push_back(option_hash(read_text_file(options_.thresholds)));
  for (const GroupSelection& group : groups_) {
    if (layer && group.layer != *layer) continue;
    for (const std::uint64_t hash : layer_content(reader_, group.layer)) content.push_back(hash);
    for (const int head : group.heads) content.push_back(static_cast<std::uint64_t>(head));
  }
  content.push_back(option_hash(fmt::format("{} {}", name_of(split.layout()), split.ranks())));
  row.unit = unit_id(row, content);
  return row;
}

/// --context-parallel: a row for every method, layout, number of ranks and layer, and one for the model.
int DumpReplay::run_context() {
  const LayerInfo& shape = reader_.layer(groups_[0].layer);
  const std::vector<ContextSplit> splits = options_.context.splits(shape.geometry.kv_len);
  const std::int64_t token_bytes =
      2 * shape.geometry.head_dim * static_cast<std::int64_t>(size_of(shape.dtype));
  stream_.emplace(cli::open_stream(options_.common, group_bytes_, true));
  cli::Output output(options_.common, context_columns(), context_columns());
  std::vector<ContextRun> runs(runs_.size(), ContextRun(splits));
  std::vector<std::vector<GroupContext>> found(groups_.size());  // of groups on their way, a run each
  const auto emit = [&](std::size_t run, std::optional<int> layer) {
    return [&, run, layer](const ContextSplit& split, const ContextSum& sum, const GroupContext& totals) {
      ResultRow row = context_row(run, split, layer);
      row.plan_path = totals.plan_path;
      row.density = totals.stats.density();
      sum.fill(row, totals.unsplit_work);
      output.row(row, layer ? cli::Audience::programs : cli::Audience::everyone);
    };
  };
  const auto compute = [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    std::vector<int> heads;
    for (const int head : groups_[n].heads) heads.push_back(head - groups_[n].first_head);
    for (std::size_t run = 0; run < runs.size(); ++run)
      found[n].push_back(group_context(engine, *inputs, runs_[run], request(run, groups_[n]), heads, splits));
  };
  const auto finish = [&](std::size_t n) {
    for (std::size_t run = 0; run < runs.size(); ++run) runs[run].add(std::move(found[n][run]));
    if (n + 1 < groups_.size() && groups_[n + 1].layer == groups_[n].layer) return;
    for (std::size_t run = 0; run < runs.size(); ++run)
      runs[run].finish_layer(token_bytes, emit(run, groups_[n].layer));
  };
  stream_->run("context parallelism: KV group", stream_items(reader_, groups_),
               {.wanted = nullptr, .compute = compute, .finish = finish});
  for (std::size_t run = 0; run < runs.size(); ++run) runs[run].finish(emit(run, {}));
  output.finish();
  return 0;
}

/// Flags that make no sense together.
void check(const Options& options, std::size_t runs) {
  if (!options.svg.empty()) check_figure_name(options.svg);
  if (!options.rows.empty() && !options.head_map.empty())
    fail_usage("--rows goes with rows of metrics, not with --head-map");
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

int run(const Options& options) {
  if (!options.pareto.empty()) {
    if (!options.rows.empty()) fail_usage("--rows goes with rows of single runs, not with --pareto");
    return run_fronts(options);
  }
  DumpReplay replay(options);
  if (!options.context.layouts.empty()) return replay.run_context();
  return options.head_map.empty() ? replay.run() : replay.draw_head_map();
}

}  // namespace anchor::recall
