// The safetensors container, and what its metadata say of a dump's layers.
#include <algorithm>
#include <array>

#include "anchor/data/safetensors.hpp"
#include "anchor/data/transfer.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::MemoryFile file;
  file.write(test::text_of(data, size));
  test::accepted([&] {
    const SafetensorsReader reader(file.path());
    for (const auto& [name, entry] : reader.entries()) {
      std::array<std::byte, 16> bytes{};
      const auto count = std::min<std::uint64_t>(bytes.size(), entry.end - entry.begin);
      reader.read(entry, entry.end - entry.begin - count, std::span(bytes).first(count));
    }
  });
  test::accepted([&] {
    const DumpPlan plan = read_import(file.path(), {});
    test::demand(!plan.layers.empty() && !plan.header.model.empty(),
                 "what is imported has layers and a name");
  });
  return 0;
}
