// A GGUF file's header, its model's sizes and constants, and whether its tensors fit them.
#include "anchor/model/gguf.hpp"
#include "anchor/model/language_model.hpp"
#include "fuzz/support/memory_file.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::MemoryFile input;
  input.write(test::text_of(data, size));
  test::accepted([&] {
    const GgufFile file(input.path());
    test::accepted([&] { make_ropes(read_config(file), std::nullopt, 64); });
    const LanguageModel model(file);
    test::demand(model.geometry(0, 64).kv_len == 64, "a model has a first layer");
  });
  return 0;
}
