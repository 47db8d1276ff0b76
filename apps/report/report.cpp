#include "report/report.hpp"

#include <algorithm>
#include <fstream>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/model/model_files.hpp"
#include "anchor/report/eval_figures.hpp"
#include "anchor/report/eval_tables.hpp"
#include "anchor/report/figure_file.hpp"
#include "anchor/report/figures.hpp"
#include "anchor/report/html_report.hpp"
#include "anchor/report/make_head_views.hpp"
#include "anchor/report/output_file.hpp"
#include "anchor/rows/read_rows.hpp"
#include "cli/progress.hpp"
#include "cli/streams.hpp"
#include "report/join.hpp"

namespace anchor::report {
namespace {

bool is_hdf5(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot read", path);
  char magic[8] = {};
  file.read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == std::string_view("\x89HDF\r\n\x1a\n", 8);
}

/// The method and parameters of a row; its knob stays at the default where the row has none.
std::optional<MethodRun> run_of(const ResultRow& row) {
  if (row.method.empty() || row.params.empty() || row.kind == "bench") return {};
  MethodRun run{&find_method(row.method), {}};
  run.params = default_params(*run.method);
  for (const auto& [name, value] : row.params) set_param(*run.method, run.params, name, scalar_text(value));
  return run;
}

std::string figure(const std::string& name, const std::vector<FileRow>& of_files) {
  std::vector<ResultRow> rows;
  for (const FileRow& one : of_files) rows.push_back(one.row);
  if (name == "pareto") return svg_chart(front_figure(rows));
  if (name == "curves") return svg_chart(curves_figure(rows));
  if (name == "bench") return svg_chart(bench_figure(rows));
  const std::vector<AnswerSet> sets = answer_sets(rows);
  return name == "kl"      ? svg_chart(kl_figure(sets))
         : name == "flips" ? svg_chart(flips_figure(sets))
                           : svg_depth_maps(sets);
}

/// What methods did to a model's answers, on stdout; false if no row says so.
bool print_answers(const std::vector<FileRow>& of_files, const Options& options) {
  std::vector<ResultRow> rows;
  std::size_t failed = 0;
  std::string why;
  for (const auto& [file, row] : of_files) {
    if (row.kind != "eval") continue;
    rows.push_back(row);
    if (!row.ok() && failed++ == 0) why = row.error;
  }
  if (rows.empty()) return false;
  cli::print_out(eval_tables(answer_sets(rows), options.format == "md"));
  if (failed > 0)
    options.common.note(fmt::format("anchor-report: {} rows have no result; the first: {}", failed, why));
  return true;
}

bool asks_for_method(const cli::MethodOptions& options) {
  return options.named || !options.set.empty() ||
         std::any_of(options.direct.begin(), options.direct.end(),
                     [](auto& flag) { return !flag.second.empty(); });
}

}  // namespace

void setup(CLI::App& app, Options& options) {
  app.footer(
      "anchor-report recall.jsonl sweep.jsonl dump.h5 --html report.html\n"
      "anchor-report bench.jsonl --svg bench.svg --figure bench\n"
      "anchor-report eval.jsonl");
  app.add_option("FILES", options.files, "Result rows (jsonl), and a dump whose heads can be opened")
      ->type_name("FILE");
  app.add_option("--html", options.html, "The page to write")->type_name("FILE");
  CLI::Option* svg =
      app.add_option("--svg", options.svg, "A figure of the rows, for print: .svg, .png or .pdf")
          ->type_name("FILE");
  app.add_option("--figure", options.figure, "With --svg: pareto, curves, bench; of answers kl, flips, depth")
      ->check(CLI::IsMember({"pareto", "curves", "bench", "kl", "flips", "depth"}))
      ->type_name("NAME")
      ->needs(svg);
  app.add_option("--format", options.format, "Of the tables of answers: text (80 columns) or md")
      ->check(CLI::IsMember({"text", "md"}))
      ->capture_default_str()
      ->type_name("FORMAT");
  app.add_option("--layers", options.dump.layers, "Layers whose heads can be opened, such as 0-3,12")
      ->type_name("LIST");
  app.add_option("--heads", options.dump.heads, "Query heads that can be opened")->type_name("LIST");
  app.add_flag("--allow-incomplete", options.dump.allow_incomplete, "Take the complete layers of a dump");
  app.add_option("--tokenizer", options.tokenizer, "GGUF file whose tokenizer names the dump's tokens")
      ->type_name("FILE");
  cli::add_method(app, options.method, options.argv);
  cli::add_device(app, options.common);
  cli::add_common(app, options.common);
}

int run(const Options& options) {
  if (options.files.empty()) fail_usage("which rows? anchor-report ROWS.jsonl --html FILE");
  if (!options.svg.empty() && options.figure.empty())
    fail_usage("--svg needs --figure pareto, curves or bench; of answers kl, flips or depth");
  if (!options.svg.empty()) check_figure_name(options.svg);
  HtmlReport report;
  std::vector<FileRow> rows;
  std::string dump;
  std::optional<MethodRun> shown;
  for (const std::string& path : options.files) {
    if (is_hdf5(path)) {
      if (!dump.empty()) fail_usage("{} and {}: a report opens the heads of one dump", dump, path);
      dump = path;
      continue;
    }
    for (ResultRow& row : read_rows(path)) {
      if (!shown) shown = run_of(row);
      rows.push_back({path, std::move(row)});
    }
  }
  if (!options.svg.empty()) write_figure(options.svg, figure(options.figure, rows));
  if (options.html.empty() && options.svg.empty() && !print_answers(rows, options))
    fail_usage("say what to write: --html FILE or --svg FILE (only rows of anchor-eval are shown as tables)");
  if (options.html.empty()) return 0;
  OutputFile file(options.html);
  if (dump.empty()) {
    for (const auto& [flag, given] : {std::pair{"--tokenizer", !options.tokenizer.empty()},
                                      {"--layers", !options.dump.layers.empty()},
                                      {"--heads", !options.dump.heads.empty()},
                                      {"--method and its parameters", asks_for_method(options.method)}}) {
      if (given) fail_usage("{}: there is no dump among the files", flag);
    }
  } else {
    if (!shown || asks_for_method(options.method)) {
      const std::vector<MethodRun> runs = cli::resolve_methods(options.method);
      if (runs.size() > 1)
        fail_usage("heads show one method with one set of parameters, not {}", runs.size());
      shown = runs[0];
    }
    const DumpReader reader = cli::open_dump(dump, options.dump);
    const auto groups = cli::select_groups(reader, options.dump);
    for (const std::string& warning : check_join(rows, reader))
      options.common.note("anchor-report: " + warning);
    check_memory(reader, groups, options.common.memory_limit());
    std::vector<std::string> texts;
    if (!options.tokenizer.empty()) texts = ModelFiles(options.tokenizer).tokenizer().token_texts();
    const auto engine = cli::open_engine(options.common);
    cli::Progress progress("report: KV group", std::ssize(groups), options.common.quiet);
    HeadViews views =
        make_head_views(*engine, reader, groups, *shown, marks_of(rows, *shown, reader),
                        asks_for_method(options.method) ? "as the command line says" : "the default", texts,
                        [&](std::size_t n, const GroupSelection& group) {
                          progress.update(static_cast<std::int64_t>(n), fmt::format("layer {}", group.layer));
                        });
    progress.clear();
    if (std::all_of(views.heads.begin(), views.heads.end(), [](auto& head) { return !head.error.empty(); }))
      fail("{}{}", views.heads.front().error,
           asks_for_method(options.method) ? "" : " (--method and its parameters say what to show instead)");
    for (const std::string& warning : check_values(rows, *shown, views))
      options.common.note("anchor-report: " + warning);
    report.views(std::move(views));
  }
  for (FileRow& one : rows) report.row(std::move(one.row));
  file.write(report.render(options.argv));
  file.commit();
  return 0;
}

}  // namespace anchor::report
