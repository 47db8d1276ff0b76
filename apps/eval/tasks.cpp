#include "eval/tasks.hpp"

#include <fmt/format.h>

#include <iterator>
#include <sstream>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/text_file.hpp"
#include "anchor/eval/make_tasks.hpp"
#include "anchor/model/model_files.hpp"
#include "anchor/report/output_file.hpp"
#include "cli/number.hpp"
#include "cli/progress.hpp"
#include "cli/streams.hpp"

namespace anchor::eval {
namespace {

struct Options {
  std::string tokenizer, lengths = "1k", kinds, split = "test", prose, words, out;
  int count = 100;
  std::uint64_t seed = 1;
  bool ruler = false, quiet = false;
};

std::vector<std::string> all_kinds() {
  std::vector<std::string> names;
  for (const TaskKind& kind : task_kinds()) names.emplace_back(kind.name);
  return names;
}

TaskSet task_set(const Options& options) {
  TaskSet set;
  set.kinds = options.kinds.empty() ? all_kinds() : split_list(options.kinds, "--kinds");
  for (const std::string& name : set.kinds) task_kind(name);
  set.lengths = parse_integers(options.lengths, "--length", 64, std::int64_t{1} << 24);
  set.count = options.count;
  set.seed = options.seed;
  set.split = options.split == "fit" ? TaskSplit::fit : TaskSplit::test;
  if (!options.prose.empty()) set.prose = sentences_of(read_text_file(options.prose));
  if (!options.words.empty()) {
    std::istringstream words(read_text_file(options.words));
    set.words.assign(std::istream_iterator<std::string>(words), {});
  }
  return set;
}

int run(const Options& options) {
  if (options.kinds == "list") {
    for (const TaskKind& kind : task_kinds())
      cli::print_out(fmt::format("{:16}{}{}\n", kind.name, kind.summary,
                                 kind.ruler.empty() ? "" : fmt::format(" (RULER's {})", kind.ruler)));
    return 0;
  }
  if (options.tokenizer.empty()) fail_usage("tasks: --tokenizer is needed");
  const TaskSet set = task_set(options);
  const ModelFiles files(options.tokenizer);
  const Tokenizer tokenizer = files.tokenizer();
  const CountTokens count = [&](std::string_view text) {
    return static_cast<std::int64_t>(tokenizer.encode(text).ids.size());
  };
  std::optional<OutputFile> out;
  if (!options.out.empty()) out.emplace(options.out);
  const auto total = static_cast<std::int64_t>(set.kinds.size() * set.lengths.size()) * set.count;
  cli::Progress progress("task", total, options.quiet || options.out.empty());
  std::int64_t made = 0;
  make_tasks(set, count, [&](const Task& task) {
    const std::string line = (options.ruler ? ruler_line(task, made) : task_line(task)) + "\n";
    if (out) {
      out->write(line);
    } else {
      cli::print_out(line);
    }
    progress.update(++made, task.kind);
  });
  progress.clear();
  if (out) out->commit();
  return 0;
}

}  // namespace

void setup_tasks(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("tasks", "Make questions with known answers, from a seed");
  sub->footer(
      "anchor-eval tasks --tokenizer M.gguf --length 1k,4k -o tasks.jsonl\n"
      "anchor-eval tasks --tokenizer M.gguf --kinds needle,variables --count 20 -o t.jsonl\n"
      "anchor-eval tasks --kinds list");
  sub->add_option("--tokenizer", options->tokenizer,
                  "The model whose tokens count: a GGUF file or a folder (needed)")
      ->type_name("FILE");
  sub->add_option("--length", options->lengths, "Tokens of prompt and answer together, at most (4k = 4096)")
      ->type_name("LIST")
      ->capture_default_str();
  sub->add_option("--kinds", options->kinds, "Kinds of tasks; `--kinds list` explains (default: all)")
      ->type_name("LIST");
  sub->add_option("--count", options->count, "Tasks of each kind and length")
      ->transform(cli::whole_number())
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  sub->add_option("--seed", options->seed, "Equal seeds give equal tasks on every machine")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--split", options->split, "Wordings and words: those of fit are not those of test")
      ->check(CLI::IsMember({"fit", "test"}))
      ->capture_default_str();
  sub->add_option("--prose", options->prose,
                  "A text whose sentences hide the facts (default: made sentences)")
      ->type_name("FILE");
  sub->add_option("--words", options->words, "Nouns, separated by white space (default: built-in)")
      ->type_name("FILE");
  sub->add_flag("--ruler", options->ruler, "RULER's field names, for its own scorers");
  sub->add_option("-o,--out", options->out, "The jsonl file to write (default: stdout)")->type_name("FILE");
  sub->add_flag("-q,--quiet", options->quiet, "No progress");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::eval
