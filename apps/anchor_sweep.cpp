#include "sweep/cluster.hpp"
#include "sweep/sweep.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app(
      "Density and mass recall of every head at every knob value, and the knobs that reach a target.",
      "anchor-sweep");
  sweep::Options options;
  options.argv.assign(argv, argv + argc);
  app.require_subcommand(0, 1);
  sweep::setup(app, options);
  cli::Command command = [&] { return sweep::run(options); };
  sweep::setup_cluster(app, command);
  return cli::run_main(argc, argv, app, command);
}
