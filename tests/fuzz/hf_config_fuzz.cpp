// config.json of a Hugging Face folder.
#include "anchor/model/hf_folder.hpp"
#include "anchor/model/language_model.hpp"
#include "fuzz/support/model_folder.hpp"
#include "fuzz/support/outcome.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::ModelFolder input("config.json");
  input.write(test::text_of(data, size));
  test::accepted([&] {
    const HfFolder folder(input.path());
    test::accepted([&] { make_ropes(read_config(folder), std::nullopt, 64); });
    const LanguageModel model(folder);
  });
  return 0;
}
