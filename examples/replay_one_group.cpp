// Plans AnchorAttention for one KV group of a dump, runs it, and prints what its heads keep:
// replay_one_group DUMP [THETA]
#include <anchor/base/error.hpp>
#include <anchor/data/dump_reader.hpp>
#include <anchor/engine/devices.hpp>
#include <anchor/replay/replay.hpp>
#include <cstdio>

int main(int argc, char** argv) try {
  const anchor::DumpReader dump(argc > 1 ? argv[1] : "data/smollm2.h5");
  const auto engine = anchor::make_engine("auto");  // a CUDA card where there is one
  const auto inputs = engine->upload(dump.read_group(dump.layers().front().layer, 0));

  const anchor::Method& method = anchor::find_method("anchor");
  anchor::Params params = anchor::default_params(method);
  anchor::set_param(method, params, "step", "1");  // a list of stripes for every 128 rows
  if (argc > 2) anchor::set_param(method, params, "theta", argv[2]);

  const auto dense = engine->dense_reference(*inputs);
  for (const auto& head : anchor::replay(*engine, *inputs, method, {params, {}}, *dense).heads) {
    std::printf("mass_recall %.6f at density %.6f\n", head.recall.mean, head.stats.density());
  }
} catch (const anchor::Error& error) {
  std::fprintf(stderr, "replay_one_group: %s\n", error.what());
  return 1;
}
