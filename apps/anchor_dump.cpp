#include "cli/common_options.hpp"
#include "cli/main.hpp"
#include "dump/inspect.hpp"
#include "dump/model.hpp"
#include "dump/synthetic.hpp"
#include "dump/transfer.hpp"
#include "dump/verify.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app("Makes, checks and converts dumps of queries, keys and values (data/README.md).",
               "anchor-dump");
  app.set_version_flag("--version", cli::version_text(), "Print the version and the commit");
  app.footer("anchor-dump synthetic --seq 8k --out heads.h5\nanchor-dump inspect heads.h5");
  app.require_subcommand(1);
  cli::Command command;
  dump::setup_model(app, command, {argv, argv + argc});
  dump::setup_synthetic(app, command);
  dump::setup_inspect(app, command);
  dump::setup_verify(app, command);
  dump::setup_transfer(app, command);
  return cli::run_main(argc, argv, app, command);
}
