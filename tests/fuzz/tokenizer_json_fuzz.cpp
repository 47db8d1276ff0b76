// tokenizer.json of a Hugging Face folder up to the first byte 0, and behind it a text that it encodes.
#include "anchor/model/hf_folder.hpp"
#include "fuzz/support/encode.hpp"
#include "fuzz/support/model_folder.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::ModelFolder input("tokenizer.json");
  static const HfFolder folder(input.path());
  const std::string_view bytes = test::text_of(data, size);
  const std::size_t end = std::min(bytes.find('\0'), bytes.size());
  input.write(bytes.substr(0, end));
  test::accepted([&] {
    const Tokenizer tokenizer(folder);
    test::encode_with(tokenizer, bytes.substr(end));
    test::demand(tokenizer.token_texts().size() == tokenizer.vocab_size(), "every token has a text");
  });
  return 0;
}
