#include "sweep/calibrate.hpp"
#include "sweep/cluster.hpp"
#include "sweep/codebook.hpp"
#include "sweep/fit_options.hpp"
#include "sweep/sweep.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app(
      "Density and mass recall of every head at every knob value, and the knobs that reach a target.",
      "anchor-sweep");
  sweep::SweepOptions options;
  options.argv.assign(argv, argv + argc);
  app.require_subcommand(0, 1);
  sweep::setup_sweep(app, options);
  cli::Command command = [&] { return sweep::run_sweep(options); };
  sweep::setup_fit(app, command, options.argv);
  sweep::setup_calibrate(app, command, options.argv);
  sweep::setup_cluster(app, command);
  sweep::setup_codebook(app, command);
  return cli::run_main(argc, argv, app, command);
}
