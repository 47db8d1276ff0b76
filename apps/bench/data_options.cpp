#include "bench/data_options.hpp"

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/timing/dump_layers.hpp"
#include "anchor/timing/synthetic_layers.hpp"
#include "cli/number.hpp"

namespace anchor::bench {
namespace {

constexpr std::int64_t longest = std::int64_t{1} << 30;

/// A usage error if one of the flags was given.
void refuse(const CLI::App& app, std::initializer_list<const char*> flags, const char* why) {
  for (const char* flag : flags)
    if (app.get_option(flag)->count() > 0) fail_usage("{} {}", flag, why);
}

SyntheticSpec synthetic_spec(const DataOptions& options) {
  constexpr std::string_view prefix = "synthetic:";
  if (!options.data.starts_with(prefix))
    fail_usage("--data {}: write synthetic:PATTERN, or use --dump", options.data);
  if (options.q_heads % options.kv_heads != 0)
    fail_usage("--q-heads {} is not a multiple of --kv-heads {}", options.q_heads, options.kv_heads);
  return {.q_heads = options.q_heads,
          .kv_heads = options.kv_heads,
          .head_dim = options.head_dim,
          .dtype = parse_dtype(options.dtype).value(),
          .seed = options.seed,
          .pattern = options.data.substr(prefix.size())};
}

}  // namespace

void add_data(CLI::App& app, DataOptions& options) {
  constexpr const char* group = "Data";
  app.add_option("--seq", options.seq,
                 "Lengths, such as 8k-128k*2 (default 8k); with --dump: prefixes of its text")
      ->type_name("LIST");
  app.add_option("--q-heads", options.q_heads, "Query heads")
      ->transform(cli::whole_number(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--kv-heads", options.kv_heads, "KV heads; divides --q-heads")
      ->transform(cli::whole_number(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--dim", options.head_dim, "Head dimension")
      ->transform(cli::whole_number(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--dtype", options.dtype, "Element type")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--data", options.data, "synthetic:PATTERN (patterns: anchor-dump synthetic --help)")
      ->capture_default_str()
      ->group(group);
  app.add_option("--seed", options.seed, "Of the synthetic data")->capture_default_str()->group(group);
  app.add_option("--dump", options.dump.path, "Time the heads of a dump instead")->type_name("D.h5");
  app.add_option("--layers", options.dump.layers, "Layers of the dump (default all)")->type_name("LIST");
  app.add_option("--heads", options.dump.heads,
                 "Query heads of the dump, equally many of every KV head used (default all)")
      ->type_name("LIST")
      ->group(group);
}

TimedData open_data(const DataOptions& options, const CLI::App& app) {
  std::vector<std::int64_t> lengths;
  if (!options.seq.empty()) lengths = parse_integers(options.seq, "--seq", 1, longest);
  TimedData data;
  if (options.dump.path.empty()) {
    refuse(app, {"--layers", "--heads"}, "selects from a dump: give --dump D.h5");
    if (lengths.empty()) lengths = {8192};
    data.layers = std::make_unique<SyntheticLayers>(synthetic_spec(options), lengths);
    return data;
  }
  refuse(app, {"--q-heads", "--kv-heads", "--dim", "--dtype", "--data", "--seed"},
         "contradicts --dump: shapes and data come from the file");
  data.reader.reset(new DumpReader(cli::open_dump(options.dump.path, options.dump)));
  data.layers = std::make_unique<DumpLayers>(*data.reader, cli::select_groups(*data.reader, options.dump),
                                             lengths, options.dump.heads);
  return data;
}

}  // namespace anchor::bench
