#include "recall/recall.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app(
      "What a sparse attention method keeps of every head of a dump: density, mass recall, output error.",
      "anchor-recall");
  recall::Options options;
  options.argv.assign(argv, argv + argc);
  recall::setup(app, options);
  return cli::run_main(argc, argv, app, [&] { return recall::run(options); });
}
