#include "cli/main.hpp"
#include "dump/inspect.hpp"
#include "dump/model.hpp"
#include "dump/synthetic.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app("Makes, checks and converts dumps of queries, keys and values (data/README.md).",
               "anchor-dump");
  app.require_subcommand(1);
  cli::Command command;
  dump::setup_model(app, command);
  dump::setup_synthetic(app, command);
  dump::setup_inspect(app, command);
  return cli::run_main(argc, argv, app, command);
}
