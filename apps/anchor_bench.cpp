#include "bench/compare.hpp"
#include "bench/run.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app(
      "How fast methods are on one layer's heads: checked against the reference, then timed in turns until "
      "the "
      "median is known. Times include planning.",
      "anchor-bench");
  app.require_subcommand(0, 1);
  bench::Options options;
  options.argv.assign(argv, argv + argc);
  bench::setup(app, options);
  cli::Command command = [&] { return bench::run(options, app); };
  bench::setup_compare(app, command);
  return cli::run_main(argc, argv, app, command);
}
