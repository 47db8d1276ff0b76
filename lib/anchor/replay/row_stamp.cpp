#include "anchor/replay/row_stamp.hpp"

namespace anchor {

void stamp(ResultRow& row, const Engine& engine, const std::vector<std::string>& argv) {
  row.device = engine.device();
  row.path = engine.path();
  row.env = host_environment();
  row.argv = argv;
}

void stamp(ResultRow& row, const Engine& engine, const MethodRun& run, const std::vector<std::string>& argv) {
  row.method = run.method->name;
  row.params = fixed_params(run);
  stamp(row, engine, argv);
}

}  // namespace anchor
