#include "cli/common_options.hpp"
#include "cli/main.hpp"
#include "eval/run.hpp"
#include "eval/score.hpp"
#include "eval/tasks.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app(
      "Asks a model questions whose answers are known, and shows what sparse attention does to them.",
      "anchor-eval");
  app.set_version_flag("--version", cli::version_text(), "Print the version and the commit");
  app.footer(
      "anchor-eval tasks --tokenizer M.gguf --length 1k,4k -o tasks.jsonl\n"
      "anchor-eval run --model M.gguf --tasks tasks.jsonl --method anchor,streaming");
  app.require_subcommand(1);
  cli::Command command;
  eval::setup_tasks(app, command);
  eval::setup_run(app, command, {argv, argv + argc});
  eval::setup_score(app, command);
  return cli::run_main(argc, argv, app, command);
}
