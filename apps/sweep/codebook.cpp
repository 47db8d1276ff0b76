#include "sweep/codebook.hpp"

#include <fmt/format.h>

#include <memory>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/data/codebook_file.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/param_specs.hpp"
#include "anchor/tuning/dump_codebook.hpp"
#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"
#include "cli/number.hpp"
#include "cli/progress.hpp"

namespace anchor::sweep {
namespace {

struct CodebookOptions {
  cli::CommonOptions common;
  cli::DumpsOptions dumps;
  std::vector<std::string> set;
  int rows = 8;
  bool force = false;
  std::string out;
};

/// The parameters of --set, checked and explained like a method's.
const Method& parameters() {
  static const Method all{
      .name = "codebook",
      .params = {
          integer_param("codes", 1024, 1, 1 << 16, "codes of every part"),
          choice_param("metric", {"query", "plain"}, "keys as queries see them, or Euclidean"),
          choice_param("rope", {"windowed", "post"}, "keys before RoPE, or after it"),
          tokens_param("b", 2048, 0, "distance to which queries are turned"),
          integer_param("parts", 1, 1, 8192, "product quantisation: equal parts of the head dimension"),
          choice_param("init", {"distance", "stride"}, "first centroids: k-means++, or evenly spaced keys"),
          integer_param("steps", 50, 1, 1e6, "most steps of k-means"),
          integer_param("seed", 1, 0, 1e9, "of k-means++")}};
  return all;
}

std::string set_help() {
  std::string text = "Set a parameter, repeatable:";
  for (const ParamSpec& spec : parameters().params)
    text += fmt::format(" {}={} ({});", spec.name, scalar_text(spec.default_value), spec.help);
  text.back() = '.';
  return text.substr(0, text.size() - 1);
}

CodebookRequest request_of(const CodebookOptions& options) {
  Params params = default_params(parameters());
  std::set<std::string> given;
  for (const std::string& text : options.set) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0) fail_usage("--set {}: write KEY=VALUE", text);
    const std::string key = text.substr(0, equals);
    if (!given.insert(key).second) fail_usage("--set {}: {} is set twice", text, key);
    set_param(parameters(), params, key, text.substr(equals + 1));
  }
  return {.fit = {.codes = params.integer("codes"),
                  .parts = params.integer("parts"),
                  .query_metric = params.choice("metric") == "query",
                  .stride_start = params.choice("init") == "stride",
                  .most_steps = static_cast<int>(params.integer("steps")),
                  .seed = static_cast<std::uint64_t>(params.integer("seed"))},
          .windowed = params.choice("rope") == "windowed",
          .b = params.integer("b"),
          .rows = options.rows,
          .force = options.force};
}

int run(const CodebookOptions& options) {
  set_threads(options.common.threads);
  const CodebookRequest request = request_of(options);
  const std::vector<std::string> paths = options.dumps.paths();
  std::vector<std::unique_ptr<DumpReader>> dumps;
  std::vector<const DumpReader*> texts;
  for (const std::string& path : paths) {
    dumps.emplace_back(new DumpReader(cli::open_dump(path, options.dumps)));
    texts.push_back(dumps.back().get());
  }
  const std::vector<GroupSelection> groups = cli::select_groups(*texts[0], options.dumps);
  check_memory(*texts[0], groups, options.common.memory_limit());
  Codebook book;
  {
    cli::Progress progress("codebook: KV head", static_cast<std::int64_t>(groups.size()),
                           options.common.quiet);
    book = fit_codebook(texts, groups, request, [&](std::size_t n) {
      progress.update(static_cast<std::int64_t>(n) + 1, fmt::format("layer {}", groups[n].layer));
    });
  }
  write_codebook(options.out, book, paths);
  options.common.note(fmt::format("{} codes for each of {} KV heads: {:.4g} bits a key", book.codes,
                                  groups.size(), book.bits()));
  return 0;
}

}  // namespace

void setup_codebook(CLI::App& app, cli::Command& command) {
  const auto options = std::make_shared<CodebookOptions>();
  CLI::App* codebook = app.add_subcommand(
      "codebook", "Fit the codes of far keys, for --method a2ats --set codebook=FILE: arXiv 2502.12665");
  codebook->footer(
      "anchor-sweep codebook --fit prose.h5,code.h5 --out C.h5\n"
      "anchor-sweep codebook --fit D.h5 --set codes=256 --set metric=plain -o C.h5");
  codebook->add_option("--fit", options->dumps.given, "Dumps of one model whose keys are coded")
      ->required()
      ->type_name("DUMP,...");
  codebook->add_option("--layers", options->dumps.layers, "Layers, such as 0-3 or 0,7 (default all)")
      ->type_name("LIST");
  codebook->add_flag("--allow-incomplete", options->dumps.allow_incomplete,
                     "Take the complete layers of an unfinished dump");
  codebook->add_option("--set", options->set, set_help())->type_name("KEY=VALUE")->allow_extra_args(false);
  codebook->add_option("--rows", options->rows, "Every N-th query row says how queries see keys")
      ->transform(cli::whole_number(1, 1 << 20))
      ->capture_default_str()
      ->type_name("N");
  codebook->add_flag("--force", options->force, "Also with fewer than four keys a code");
  codebook->add_option("-o,--out", options->out, "The codebook, HDF5, for --set codebook=FILE")
      ->required()
      ->type_name("FILE");
  cli::add_common(*codebook, options->common);
  codebook->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::sweep
