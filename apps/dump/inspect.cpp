#include "dump/inspect.hpp"

#include <fmt/format.h>

#include "anchor/data/dump_reader.hpp"

namespace anchor::dump {
namespace {

struct Options {
  std::string path;
};

int run(const Options& options) {
  const DumpReader reader(options.path, DumpReader::Strictness::inspect);
  fmt::print("{}: {}, {} tokens, {} layers\n", options.path, reader.header().model, reader.header().seq_len,
             reader.layers().size());
  return 0;
}

}  // namespace

void setup_inspect(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("inspect", "Show what is in a dump");
  sub->add_option("dump", options->path, "The dump, an HDF5 file")->required();
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::dump
