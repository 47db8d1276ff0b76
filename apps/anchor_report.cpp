#include "report/report.hpp"

using namespace anchor;

int main(int argc, char** argv) {
  CLI::App app("Result rows, and the heads of a dump, as one HTML page to open, mail and keep.",
               "anchor-report");
  report::Options options;
  options.argv.assign(argv, argv + argc);
  report::setup(app, options);
  return cli::run_main(argc, argv, app, [&] { return report::run(options); });
}
