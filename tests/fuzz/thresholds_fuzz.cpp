// Files of thresholds.
#include "anchor/tuning/thresholds.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

namespace {

void apply(const Thresholds& thresholds) {
  const Method& method = find_method(thresholds.method);
  for (const Thresholds::Layer& layer : thresholds.layers) {
    PlanRequest request{default_params(method), {}};
    thresholds.apply(method, layer.layer, layer.heads, "input", request);
  }
}

/// The text without the time of day.
std::string stable_text(const Thresholds& thresholds) {
  const std::string text = thresholds_text(thresholds);
  return text.substr(0, text.rfind("\"created_utc\""));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::MemoryFile file;
  file.write(test::text_of(data, size));
  Thresholds thresholds;
  if (!test::accepted([&] { thresholds = read_thresholds(file.path()); })) return 0;
  test::accepted([&] { apply(thresholds); });
  const std::string text = stable_text(thresholds);
  file.write(thresholds_text(thresholds));
  test::demand(stable_text(read_thresholds(file.path())) == text,
               "thresholds are read back as they were written");
  return 0;
}
