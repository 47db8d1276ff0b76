#include "dump/synthetic.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/data/dump_writer.hpp"
#include "anchor/data/synthetic.hpp"
#include "anchor/rows/provenance.hpp"
#include "cli/number.hpp"
#include "cli/progress.hpp"

namespace anchor::dump {
namespace {

struct Options {
  SyntheticSpec spec;
  std::string dtype = "bf16", out;
  int threads = 0;
  bool resume = false, quiet = false;
};

DumpHeader header_of(const SyntheticSpec& spec) {
  DumpHeader header;
  header.model = "synthetic";
  header.seq_len = spec.kv_len;
  header.tool = "anchor-dump synthetic";
  header.tool_version = tool_info().version;
  header.seed = static_cast<std::int64_t>(spec.seed);
  // All that decides the bits: a dump made otherwise cannot be resumed.
  header.text["config_json"] =
      nlohmann::ordered_json{{"pattern", spec.pattern},   {"q_heads", spec.q_heads},
                             {"kv_heads", spec.kv_heads}, {"head_dim", spec.head_dim},
                             {"q_len", spec.q_len},       {"dtype", name_of(spec.dtype)}}
          .dump();
  return header;
}

int run(Options options) {
  if (options.spec.pattern == "list") {
    fmt::print("{}", pattern_help);
    return 0;
  }
  if (options.out.empty()) fail_usage("synthetic: --out is needed");
  options.spec.dtype = parse_dtype(options.dtype).value();
  set_threads(options.threads);
  const Synthetic heads(options.spec);
  const SyntheticSpec& spec = heads.spec();
  DumpPlan plan{header_of(spec), {}, {}, {}};
  for (int layer = 0; layer < spec.layers; ++layer) plan.layers.push_back(heads.layer_info(layer));
  DumpWriter writer(options.out, plan, options.resume ? DumpWriter::Mode::resume : DumpWriter::Mode::create);
  cli::Progress progress("synthetic", std::int64_t{spec.layers} * spec.kv_heads, options.quiet);
  for (int layer = 0; layer < spec.layers; ++layer) {
    if (writer.has_layer(layer)) continue;
    writer.begin_layer(layer);
    for (int kv_head = 0; kv_head < spec.kv_heads; ++kv_head) {
      check_interrupt();
      progress.update(std::int64_t{layer} * spec.kv_heads + kv_head, fmt::format("layer {}", layer));
      writer.append(heads.group(layer, kv_head));
    }
    writer.end_layer();
  }
  writer.finish();
  return 0;
}

}  // namespace

void setup_synthetic(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  SyntheticSpec& spec = options->spec;
  CLI::App* sub = app.add_subcommand("synthetic", "Make structured heads with known truth");
  sub->footer(
      "anchor-dump synthetic --seq 8k --out heads.h5\n"
      "anchor-dump synthetic --seq 32k --dim 128 --pattern stripes:64:8,sink -o s.h5");
  sub->add_option("--seq", spec.kv_len, "Tokens (8k = 8192)")
      ->transform(cli::whole_number())
      ->capture_default_str();
  sub->add_option("--q-len", spec.q_len, "Query rows: the last so many tokens (default: all)")
      ->transform(cli::whole_number());
  sub->add_option("--q-heads", spec.q_heads, "Query heads")
      ->transform(cli::whole_number())
      ->capture_default_str();
  sub->add_option("--kv-heads", spec.kv_heads, "KV heads; divides --q-heads")
      ->transform(cli::whole_number())
      ->capture_default_str();
  sub->add_option("--dim", spec.head_dim, "Head dimension")
      ->transform(cli::whole_number())
      ->capture_default_str();
  sub->add_option("--layers", spec.layers, "Layers")->transform(cli::whole_number())->capture_default_str();
  sub->add_option("--pattern", spec.pattern, "What heads attend to; `--pattern list` explains")
      ->capture_default_str();
  sub->add_option("--seed", spec.seed, "Equal seeds give equal bits on every machine")
      ->transform(cli::whole_number(0))
      ->capture_default_str();
  sub->add_option("--dtype", options->dtype, "Stored type")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str();
  sub->add_option("-o,--out", options->out, "The dump to write; it grows as OUT.part (needed)")
      ->type_name("DUMP");
  sub->add_option("--threads", options->threads, "Threads (default: all cores)")
      ->transform(cli::whole_number(1, 4096));
  sub->add_flag("--resume", options->resume, "Continue OUT.part: only layers that it lacks are made");
  sub->add_flag("-q,--quiet", options->quiet, "No progress");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::dump
