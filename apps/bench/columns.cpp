#include "bench/columns.hpp"

namespace anchor::bench {

std::vector<Column> columns_for_eyes(std::span<const TimedMethod> methods) {
  std::vector<Column> columns{{"geometry.q_len", -1, "tokens"},   {"method"},
                              {"params.step", -1, "step"},        {"stripe_density", 4, "stripes"},
                              {"stats.median_ns", 3, "ms", 1e-6}, {"ci95_percent", 1, "+-%", 0.5}};
  for (const TimedMethod& one : methods)
    if (one.baseline) columns.push_back({"speedup_" + one.name, 2, "x " + one.name});
  for (Column column :
       {Column{"tflops_dense", 0, "dense TF/s"}, Column{"tflops_useful", 0, "useful"},
        Column{"peak_percent", 0, "% peak"}, Column{"stages_ns.anchor", 3, "anchor ms", 1e-6},
        Column{"stages_ns.identify", 3, "identify", 1e-6}, Column{"stages_ns.stripes", 3, "stripes", 1e-6},
        Column{"stages_ns.plan", 3, "plan ms", 1e-6}, Column{"stages_ns.execute", 3, "execute", 1e-6},
        Column{"density", 4}, Column{"value", 4, "knob"}, Column{"mass_recall", 4, "recall"},
        Column{"out_rel_l2", 4, "rel l2"}})
    columns.push_back(std::move(column));
  return columns;
}

std::vector<Column> columns_for_files() {
  std::vector<Column> all;
  for (const char* name : {"status",
                           "error",
                           "dump.path",
                           "dump.layer",
                           "dump.model",
                           "geometry.q_heads",
                           "geometry.kv_heads",
                           "geometry.q_len",
                           "geometry.kv_len",
                           "geometry.head_dim",
                           "geometry.dtype",
                           "method",
                           "params.theta",
                           "params.step",
                           "params.mode",
                           "device",
                           "path",
                           "plan_path",
                           "cache",
                           "density",
                           "work_density",
                           "stripe_density",
                           "value",
                           "mass_recall",
                           "out_rel_l2",
                           "stats.median_ns",
                           "stats.ci95_ns",
                           "stats.n",
                           "settled",
                           "stages_ns.anchor",
                           "stages_ns.identify",
                           "stages_ns.stripes",
                           "stages_ns.plan",
                           "stages_ns.execute",
                           "speedup_cudnn",
                           "speedup_dense",
                           "tflops_dense",
                           "tflops_useful",
                           "tflops_stripes",
                           "peak_percent",
                           "matmul_tflops",
                           "env.sm_clock_mhz",
                           "env.temperature_c",
                           "env.power_w",
                           "unit"})
    all.push_back({name});
  return all;
}

}  // namespace anchor::bench
