#include "sweep/sweep.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app(
      "Density and mass recall of every head at every knob value, and the knobs that reach a target.",
      "anchor-sweep");
  sweep::Options options;
  options.argv.assign(argv, argv + argc);
  sweep::setup(app, options);
  return cli::run_main(argc, argv, app, [&] { return sweep::run(options); });
}
