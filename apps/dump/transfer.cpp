#include "dump/transfer.hpp"

#include "anchor/data/transfer.hpp"
#include "anchor/rows/provenance.hpp"
#include "cli/number.hpp"
#include "cli/progress.hpp"

namespace anchor::dump {
namespace {

struct Options {
  std::string source, out;
  bool allow_incomplete = false, quiet = false;
  ImportOptions import;
};

// The number of tensors is known only to the transfer itself.
class Shown {
 public:
  Shown(const char* what, bool quiet) : what_(what), quiet_(quiet) {}
  void operator()(std::int64_t done, std::int64_t total, const std::string& name) {
    if (!progress_) progress_ = std::make_unique<cli::Progress>(what_, total, quiet_);
    progress_->update(done, name);
  }

 private:
  const char* what_;
  bool quiet_;
  std::unique_ptr<cli::Progress> progress_;
};

int run_export(const Options& options) {
  const DumpReader reader(options.source, options.allow_incomplete ? DumpReader::Strictness::allow_incomplete
                                                                   : DumpReader::Strictness::complete);
  Shown progress("export", options.quiet);
  export_dump(reader, options.out, std::ref(progress));
  return 0;
}

int run_import(Options options) {
  options.import.tool = "anchor-dump import";
  options.import.tool_version = tool_info().version;
  Shown progress("import", options.quiet);
  import_dump(options.source, options.out, options.import, std::ref(progress));
  return 0;
}

}  // namespace

void setup_transfer(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("export", "Write a dump as safetensors");
  sub->footer(
      "anchor-dump export dump.h5 -o dump.safetensors\n"
      "anchor-dump export cut.h5.part --allow-incomplete -o cut.safetensors");
  sub->add_option("dump", options->source, "The dump, an HDF5 file")->required()->type_name("DUMP");
  sub->add_option("-o,--out", options->out, "The safetensors file to write")->required()->type_name("FILE");
  sub->add_flag("--allow-incomplete", options->allow_incomplete,
                "Take the complete layers of an unfinished dump");
  sub->add_flag("-q,--quiet", options->quiet, "No progress");
  sub->callback([options, &command] { command = [options] { return run_export(*options); }; });

  sub = app.add_subcommand("import", "Make a dump from safetensors: layers.000.q, .k, .v, ...");
  sub->footer(
      "anchor-dump import dump.safetensors -o dump.h5\n"
      "anchor-dump import qkv.safetensors --model mine --softmax-scale 0.125 -o d.h5");
  sub->add_option("safetensors", options->source, "A file with tensors named layers.000.q, ...")
      ->required()
      ->type_name("FILE");
  sub->add_option("-o,--out", options->out, "The dump to write")->required()->type_name("DUMP");
  sub->add_option("--model", options->import.model, "The model's name, where the file has none");
  sub->add_option("--softmax-scale", options->import.softmax_scale, "Of all layers, where the file has none")
      ->check(cli::positive_number());
  sub->add_flag("-q,--quiet", options->quiet, "No progress");
  sub->callback([options, &command] { command = [options] { return run_import(*options); }; });
}

}  // namespace anchor::dump
