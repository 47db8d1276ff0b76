#include "anchor/model/tokenizer.hpp"

#include <doctest/doctest.h>

#include <chrono>

#include "anchor/base/error.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/utf8.hpp"
#include "model/golden.hpp"

using namespace anchor;

TEST_CASE("pieces are those of the Hugging Face pre-tokenizers") {
  const auto golden = read_golden("pre_tokenizer.json");
  for (const auto& [label, texts] : golden["pieces"].items()) {
    const PreTokenizer pre_tokenizer(label);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      CAPTURE(label);
      CAPTURE(i);
      const CleanText clean = replace_invalid_utf8(from_hex(golden["texts"][i]));
      std::vector<std::string> pieces;
      for (const std::string_view piece : pre_tokenizer.split(clean.text)) {
        if (!piece.empty()) pieces.emplace_back(piece);
      }
      CHECK(pieces == texts[i].get<std::vector<std::string>>());
    }
  }
}

TEST_CASE("token ids of the tiny model are those of the tokenizers library") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const Tokenizer tokenizer(file);
  const auto golden = read_golden("tokenizer.json");
  for (std::size_t i = 0; i < golden["texts"].size(); ++i) {
    CAPTURE(i);
    CHECK(tokenizer.encode(from_hex(golden["texts"][i])).ids ==
          golden["ids"]["tiny"][i].get<std::vector<int>>());
  }
}

TEST_CASE("ill-formed UTF-8 becomes U+FFFD as in Python's errors=replace") {
  const auto clean = [](std::string_view bytes) { return replace_invalid_utf8(bytes); };
  CHECK(clean("plain \xE2\x82\xAC \xF0\x9F\x98\x80").replaced == 0);
  CHECK(clean("a\xFF"
              "b")
            .text ==
        "a\xEF\xBF\xBD"
        "b");
  CHECK(clean("\xC0\x80").replaced == 2);          // overlong
  CHECK(clean("\xED\xA0\x80").replaced == 3);      // surrogate
  CHECK(clean("\xF4\x90\x80\x80").replaced == 4);  // beyond U+10FFFF
  CHECK(clean("\xE2\x82").replaced == 1);          // one maximal subpart at the end
  CHECK(clean("\xF0\x9F\x98x").text == "\xEF\xBF\xBDx");
  CHECK(clean("\xE2\x82\xE2\x82\xAC").text == "\xEF\xBF\xBD\xE2\x82\xAC");
}

TEST_CASE("merging is by rank, leftmost first, and drops unknown bytes") {
  Bpe bpe;
  for (const char c : {'a', 'b', 'c'}) bpe.set_byte(static_cast<unsigned char>(c), c);
  REQUIRE(bpe.add_merge('b', 'c', 1000));
  REQUIRE(bpe.add_merge('a', 'b', 1001));
  REQUIRE(bpe.add_merge('a', 'a', 1002));
  REQUIRE(bpe.add_merge(1002, 1002, 1003));
  CHECK_FALSE(bpe.add_merge('a', 'a', 1004));
  const auto encode = [&](std::string_view text) {
    std::vector<int> ids;
    bpe.encode(text, ids);
    return ids;
  };
  CHECK(encode("") == std::vector<int>{});
  CHECK(encode("abc") == std::vector<int>{'a', 1000});
  CHECK(encode("aab") == std::vector<int>{'a', 1001});
  CHECK(encode("aaaaa") == std::vector<int>{1003, 'a'});
  CHECK(encode("a?a") == std::vector<int>{1002});
  CHECK(encode("??") == std::vector<int>{});
}

TEST_CASE("long runs without a break take no quadratic time") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const Tokenizer tokenizer(file);
  const auto start = std::chrono::steady_clock::now();
  for (const char c : {'t', ' ', '7', '!', '\n'}) {
    const std::string text = std::string(400000, c) + "x";
    CHECK(tokenizer.encode(text).ids.size() > 1000);
  }
  // Quadratic work would be 10^11 steps; the limit is far above any machine's time for n log n.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
}

TEST_CASE("rules of a tokenizer that take forever or grow without end are errors") {
  const Regex nested("(a|aa)+\\z");  // as many ways as Fibonacci's numbers, none of which fits
  CHECK_THROWS_AS(nested.find(std::string(300, 'a') + "!", 0), Error);

  Normalizer growing;
  for (int n = 0; n < 10; ++n) growing.add_replace(Regex::literal("a"), std::string(100, 'a'));
  CHECK_THROWS_AS(growing.apply("aaaa"), Error);
  Normalizer wide;
  wide.add_replace(Regex::literal(" "), "\u2581");
  CHECK(wide.apply(std::string(100000, ' ')).size() == 300000);
}

TEST_CASE("an added token that is no text is not found within a character") {
  AddedTokens added;
  added.add({"\xC3", 7});
  added.add({"\xC3\xA9", 8});
  const auto parts = added.split("\xC3\xA9\xC3\xA8");
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].id == 8);
  CHECK(parts[1].text == "\xC3\xA8");
}
