#include "bench/run.hpp"
#include "cli/number.hpp"

namespace anchor::bench {

void setup(CLI::App& app, Options& options) {
  app.footer(
      R"(anchor-bench --seq 1k,2k --dim 64 --step 1 --time-limit 1 --device cpu
  | tokens | method | step | stripes |      ms | +-% | x dense | dense TF/s |
  |-------:|-------:|-----:|--------:|--------:|----:|--------:|-----------:|
  |   1024 |  dense |    - |  0.0000 |  75.490 | 7.8 |    1.00 |          0 |
  |   1024 | anchor |    1 |  0.3119 | 102.246 | 4.7 |    0.74 |          0 |
  |   2048 |  dense |    - |  0.0000 | 253.452 | 2.8 |    1.00 |          0 |
  |   2048 | anchor |    1 |  0.4029 | 274.163 | 2.7 |    0.92 |          0 |
anchor-bench --seq 8k-128k*2 --step 1,16 --stripe-density 0.03 -o bench.jsonl
anchor-bench --dump D.h5 --layers 12 --thresholds T.json --baseline cudnn)");
  cli::add_common(app, options.common);
  cli::add_device(app, options.common);
  cli::add_output(app, options.common);
  cli::add_method(app, options.method, options.argv);
  add_data(app, options.data);
  constexpr const char* group = "Measurement";
  app.add_option("--baseline", options.baselines,
                 "cudnn, dense, both or none (default: cudnn, or dense on the CPU)")
      ->type_name("LIST");
  app.add_option("--thresholds", options.thresholds, "A knob per head from anchor-sweep's file (with --dump)")
      ->type_name("T.json")
      ->group("Method");
  app.add_option(
         "--stripe-density", options.stripe_density,
         "Find the knob whose stripes hold this share of the causal pairs; a list makes a run of each")
      ->type_name("LIST");
  app.add_option(
         "--match", options.match,
         "Find every method's knob that keeps mass_recall=X, or errs by out_rel_l2=X, on the layer (with "
         "--thresholds: what to add to all); then time it")
      ->type_name("METRIC=X");
  app.add_flag("--warm", options.warm, "Leave in the cache what the same run left there (default: flushed)")
      ->group(group);
  app.add_option("--time-limit", options.time_limit, "Seconds per method and length")
      ->check(cli::positive_number())
      ->capture_default_str()
      ->group(group);
  app.add_option("--interval", options.interval,
                 "Stop when the median's 95 % interval is narrower than this share of it")
      ->check(cli::positive_number())
      ->capture_default_str()
      ->group(group);
  app.add_option("--checked-rows", options.sampled_rows,
                 "Query rows compared with the float64 reference before timing")
      ->transform(cli::whole_number(1, 1 << 30))
      ->capture_default_str()
      ->group(group);
}

}  // namespace anchor::bench
