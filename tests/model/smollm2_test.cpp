#include <doctest/doctest.h>

#include "model/check_golden.hpp"

using namespace anchor;

// Needs the model that ./dev fetches. CTest shows the test as skipped when it sees this message.
TEST_CASE("SmolLM2 computes what transformers computes, on the tokens of the tokenizers library") {
  if (smollm2_path().empty()) {
    MESSAGE("skipped: no model; ./dev test fetches it, or set ANCHOR_MODEL");
    return;
  }
  check_golden(smollm2_path(), read_golden("smollm2.json"));

  const GgufFile file(smollm2_path());
  const Tokenizer tokenizer(file);
  const auto golden = read_golden("tokenizer.json");
  for (std::size_t i = 0; i < golden["texts"].size(); ++i) {
    CAPTURE(i);
    CHECK(tokenizer.encode(from_hex(golden["texts"][i])).ids ==
          golden["ids"]["smollm2"][i].get<std::vector<int>>());
  }
}
