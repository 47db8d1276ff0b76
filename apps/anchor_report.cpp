#include "report/merge.hpp"
#include "report/report.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app("Result rows, and the heads of a dump, as one HTML page to open, mail and keep.",
               "anchor-report");
  report::Options options;
  options.argv.assign(argv, argv + argc);
  app.require_subcommand(0, 1);
  report::setup(app, options);
  cli::Command command = [&] { return report::run(options); };
  report::setup_merge(app, command);
  return cli::run_main(argc, argv, app, command);
}
