#include "dump/verify.hpp"

#include <fmt/format.h>

#include "anchor/data/verify.hpp"
#include "cli/progress.hpp"
#include "dump/problems.hpp"

namespace anchor::dump {
namespace {

struct Options {
  std::string path;
  bool quiet = false;
};

// A file that is no dump at all is an error (1); one that is, but fails a check, has not met it (4).
int run(const Options& options) {
  const DumpReader reader(options.path, DumpReader::Strictness::inspect);
  std::vector<std::string> problems;
  {
    cli::Progress progress("verify", static_cast<std::int64_t>(reader.layers().size()), options.quiet);
    problems = verify_dump(reader, [&](auto done, auto, const auto& name) { progress.update(done, name); });
  }
  print_problems(stdout, problems);
  if (!problems.empty()) return 4;
  fmt::print("{}: ok, {} layers\n", reader.path(), reader.layers().size());
  return 0;
}

}  // namespace

void setup_verify(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("verify", "Check a dump: checksums, shapes, NaN, completeness");
  sub->footer(
      "anchor-dump verify dump.h5\n  dump.h5: ok, 1 layers\nanchor-dump verify dump.h5 && anchor-recall "
      "dump.h5");
  sub->add_option("dump", options->path, "The dump, an HDF5 file")->required()->type_name("DUMP");
  sub->add_flag("-q,--quiet", options->quiet, "No progress");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::dump
