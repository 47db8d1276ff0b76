// The tokenizer of a GGUF file, and a text that it encodes. What stands behind the file's tensors is text,
// too.
#include "anchor/model/gguf.hpp"
#include "fuzz/support/encode.hpp"
#include "fuzz/support/memory_file.hpp"

using namespace anchor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::MemoryFile input;
  const std::string_view bytes = test::text_of(data, size);
  input.write(bytes);
  test::accepted([&] {
    const GgufFile file(input.path());
    const Tokenizer tokenizer(file);
    test::encode_with(tokenizer, bytes.substr(bytes.size() - std::min<std::size_t>(bytes.size(), 64)));
    test::demand(tokenizer.token_texts().size() == tokenizer.vocab_size(), "every token has a text");
  });
  return 0;
}
