#include "report/merge.hpp"

#include <fmt/format.h>

#include <memory>

#include "anchor/report/output_file.hpp"
#include "anchor/rows/merge_rows.hpp"
#include "cli/streams.hpp"

namespace anchor::report {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string out;
  bool quiet = false;
};

int run(const Options& options) {
  OutputFile out(options.out, options.files);
  const Merged merged = merge_rows(options.files, [&](std::string_view line) { out.write(line); });
  out.commit();
  const auto note = [&](const std::string& line) {
    if (!options.quiet) cli::print_note("anchor-report: " + line);
  };
  note(fmt::format("{}: {} rows of {} pieces of work, {} equal ones dropped", options.out, merged.rows,
                   merged.pieces, merged.duplicates));
  for (const std::string& line : hole_lines(merged)) note(line);
  if (merged.failed > 0) note(fmt::format("{} rows have no result; they say why", merged.failed));
  return !merged.holes.empty() ? 4 : merged.failed > 0 ? 3 : 0;
}

}  // namespace

void setup_merge(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("merge", "Put the rows of runs with --shard I/N together");
  sub->footer("anchor-report merge part-0.jsonl part-1.jsonl -o all.jsonl");
  sub->add_option("FILES", options->files, "Rows of all shards (jsonl)")->required()->type_name("FILE");
  sub->add_option("-o,--out", options->out, "The rows of the whole run")->required()->type_name("FILE");
  sub->add_flag("-q,--quiet", options->quiet, "Nothing on stderr but errors");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::report
