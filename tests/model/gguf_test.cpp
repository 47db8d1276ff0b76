#include "anchor/model/gguf.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <random>

#include "anchor/base/error.hpp"
#include "anchor/model/language_model.hpp"
#include "anchor/model/tokenizer.hpp"
#include "model/gguf_writer.hpp"
#include "model/golden.hpp"

using namespace anchor;

namespace {

struct TemporaryFile {
  std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("anchor_gguf_{}.gguf", ::getpid())).string();
  ~TemporaryFile() { std::filesystem::remove(path); }
};

/// What opening these bytes as a model says; empty if it opens.
std::string complaint(const std::string& bytes) {
  TemporaryFile file;
  write_bytes(file.path, bytes);
  try {
    const GgufFile gguf(file.path);
    const LanguageModel model(gguf);
    const Tokenizer tokenizer(gguf);
    tokenizer.encode("the cat <|end|> 12");
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(error.kind() == ErrorKind::data);
    CHECK(message.find('\n') == std::string::npos);
    REQUIRE_MESSAGE(!message.empty(), "an error must say something");
    return message;
  }
  return "";
}

void check_complaint(const GgufBytes& gguf, const std::string& part) {
  const std::string message = complaint(gguf.bytes);
  CAPTURE(message);
  CAPTURE(part);
  CHECK(message.find(part) != std::string::npos);
}

std::string replaced(std::string bytes, const std::string& from, const std::string& to) {
  REQUIRE(from.size() == to.size());
  const std::size_t at = bytes.find(from);
  REQUIRE(at != std::string::npos);
  return bytes.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("metadata and tensors of a good file") {
  TemporaryFile file;
  GgufBytes gguf;
  gguf.header(1, 3, 2).string_entry("name", "x").u32_entry("count", 7);
  gguf.put_string("list")
      .put<std::uint32_t>(9)
      .put<std::uint32_t>(5)
      .put<std::uint64_t>(2)
      .put<std::int32_t>(-1)
      .put<std::int32_t>(4);
  gguf.tensor_entry("t", {2, 3}, 0, 32).pad();
  gguf.bytes.append(32, '\0');
  for (int i = 0; i < 6; ++i) gguf.put(static_cast<float>(i));
  write_bytes(file.path, gguf.bytes);

  const GgufFile opened(file.path);
  CHECK(opened.get<std::string_view>("name") == "x");
  CHECK(opened.integer("count", 0, 7) == 7);
  CHECK(opened.get<GgufFile::Integers>("list") == GgufFile::Integers{-1, 4});
  CHECK(opened.get_or<bool>("absent", true));
  float row[2];
  opened.tensor("t", 3, 2).row(2, row);
  CHECK(row[0] == 4);
  CHECK(row[1] == 5);
  CHECK_THROWS_WITH_AS(opened.get<bool>("count"), doctest::Contains("is an integer, not a boolean"), Error);
  CHECK_THROWS_WITH_AS(opened.get<bool>("nothing"), doctest::Contains("'nothing' is missing"), Error);
  CHECK_THROWS_WITH_AS(opened.integer("count", 0, 6), doctest::Contains("not in [0, 6]"), Error);
  CHECK_THROWS_WITH_AS(opened.tensor("t", 2, 3), doctest::Contains("has shape [2, 3, 1, 1], expected [3, 2]"),
                       Error);
}

TEST_CASE("hostile headers are refused with the field that is wrong") {
  constexpr std::uint64_t huge = ~std::uint64_t{0};
  CHECK(complaint("") != "");
  check_complaint({"GGXX....................."}, "is not a GGUF file");
  check_complaint(GgufBytes().header(0, 0, 1), "GGUF version 1");
  check_complaint(GgufBytes().header(0, 0, 0x03000000), "big-endian");
  check_complaint(GgufBytes().header(huge, 0), "tensor count");
  check_complaint(GgufBytes().header(0, huge), "metadata count");
  GgufBytes long_key;
  long_key.header(0, 1).put<std::uint64_t>(huge).pad(64);
  check_complaint(long_key, "ends inside a metadata key");
  check_complaint(GgufBytes().header(0, 1).put_string("k").put<std::uint32_t>(13).pad(64), "unknown type 13");
  check_complaint(
      GgufBytes().header(0, 1).put_string("k").put<std::uint32_t>(9).put<std::uint32_t>(8).put(huge / 4).pad(
          64),
      "the length of metadata 'k'");
  check_complaint(GgufBytes()
                      .header(0, 1)
                      .put_string("k")
                      .put<std::uint32_t>(9)
                      .put<std::uint32_t>(9)
                      .put<std::uint64_t>(1)
                      .pad(64),
                  "array of arrays");
  check_complaint(GgufBytes().header(0, 1).put_string("k").put<std::uint32_t>(10).put(huge).pad(64),
                  "signed 64-bit");
  check_complaint(GgufBytes().header(0, 2).u32_entry("k", 1).u32_entry("k", 2), "'k' occurs twice");
  check_complaint(GgufBytes().header(0, 1).u32_entry("general.alignment", 33), "not a power of two");
  check_complaint(GgufBytes().header(0, 1).u32_entry("general.alignment", 0), "general.alignment");

  const auto one = [](const std::vector<std::uint64_t>& shape, std::uint32_t type, std::uint64_t offset) {
    GgufBytes gguf;
    gguf.header(1, 0).tensor_entry("t", shape, type, offset).pad();
    gguf.bytes.append(64, '\0');
    return gguf;
  };
  check_complaint(one({}, 0, 0), "0 dimensions");
  check_complaint(one({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  check_complaint(one({0}, 0, 0), "impossible shape");
  check_complaint(one({huge}, 0, 0), "impossible shape");
  check_complaint(one({std::uint64_t{1} << 39, std::uint64_t{1} << 39}, 0, 0), "impossible shape");
  check_complaint(one({4}, 16, 0), "stored as IQ2_XXS, which is not supported");
  check_complaint(one({4}, 99, 0), "stored as type 99");
  check_complaint(one({33}, 8, 0), "not a multiple of Q8_0's block of 32");
  check_complaint(one({4}, 0, 8), "not aligned");
  check_complaint(one({4}, 0, 64), "past the end");
  check_complaint(one({4}, 0, huge - 31), "past the end");
  check_complaint(one({17}, 0, 0), "past the end");
  GgufBytes twice;
  twice.header(2, 0).tensor_entry("t", {4}, 0, 0).tensor_entry("t", {4}, 0, 0).pad();
  twice.bytes.append(64, '\0');
  check_complaint(twice, "tensor 't' occurs twice");
  check_complaint(GgufBytes().header(0, 1).string_entry("general.architecture", "gemma2"),
                  "'gemma2' is not supported");
}

TEST_CASE("a model whose parts do not fit together is refused") {
  const std::string good = read_bytes(golden_path("tiny_llama.gguf"));
  REQUIRE(complaint(good) == "");
  CHECK(complaint(replaced(good, "output_norm.weight", "output_mean.weight"))
            .find("'output_norm.weight' is missing") != std::string::npos);
  CHECK(complaint(replaced(good, "tokenizer.ggml.pre", "tokenizer.ggml.xxx"))
            .find("'tokenizer.ggml.pre' is missing") != std::string::npos);
  CHECK(complaint(replaced(good, "smollm", "klingo"))
            .find("'klingo' is not supported; known are gpt-2, smollm") != std::string::npos);
  CHECK(complaint(replaced(good, "gpt2", "bert")).find("tokenizer 'bert' is not supported") !=
        std::string::npos);

  const auto with_u32 = [&](const std::string& key, std::uint32_t value) {
    std::string bytes = good;
    const std::size_t at = bytes.find(key);
    REQUIRE(at != std::string::npos);
    std::memcpy(bytes.data() + at + key.size() + 4, &value, 4);
    return complaint(bytes);
  };
  CHECK(with_u32("llama.block_count", 0).find("block_count' is 0") != std::string::npos);
  CHECK(with_u32("llama.block_count", 2).find("'blk.2.") != std::string::npos);
  CHECK(with_u32("llama.block_count", 4).find("'blk.3.attn_norm.weight' is missing") != std::string::npos);
  CHECK(with_u32("llama.embedding_length", 128).find("rotary") != std::string::npos);
  CHECK(with_u32("llama.attention.head_count_kv", 3).find("4 query heads cannot share 3 KV heads") !=
        std::string::npos);
  CHECK(with_u32("llama.attention.head_count", 6).find("does not divide") != std::string::npos);
  CHECK(with_u32("llama.feed_forward_length", 95).find("ffn_gate") != std::string::npos);
  CHECK(with_u32("llama.rope.dimension_count", 8).find("rotary") != std::string::npos);
  CHECK(with_u32("tokenizer.ggml.bos_token_id", 1u << 30).find("bos_token_id") != std::string::npos);
}

TEST_CASE(
    "truncated at any byte, or with any header byte changed, a file is read or refused, never trusted") {
  const std::string good = read_bytes(golden_path("tiny_llama.gguf"));
  const std::size_t header = good.find("output_norm.weight") + 64;
  for (std::size_t size = 0; size < good.size(); size += size < header ? 97 : 5003) {
    CAPTURE(size);
    REQUIRE(complaint(good.substr(0, size)) != "");
  }
  std::mt19937 random(5);
  for (int trial = 0; trial < 400; ++trial) {
    std::string bytes = good;
    for (int change = 0; change < 3; ++change) bytes[random() % header] = static_cast<char>(random());
    complaint(bytes);  // any outcome but a crash
  }
  for (int trial = 0; trial < 50; ++trial) {
    std::string noise = "GGUF" + std::string("\3\0\0\0", 4);
    for (int i = 0; i < 500; ++i) noise += static_cast<char>(random());
    REQUIRE(complaint(noise) != "");
  }
}
