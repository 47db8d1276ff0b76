#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <random>

#include "anchor/base/error.hpp"
#include "anchor/model/dense_attention.hpp"
#include "anchor/model/device_model.hpp"
#include "anchor/model/gguf.hpp"
#include "model/gguf_writer.hpp"

using namespace anchor;

namespace {

constexpr int hidden = 128, ffn = 192, vocab = 300, q_heads = 4, kv_heads = 2, dim = 64;

/// What a model has besides Llama's parts.
struct Variant {
  std::string name;
  bool biases = false;      ///< of queries, keys and values
  bool head_norms = false;  ///< of queries and keys
  bool post_norms = false;
  std::uint32_t window = 0;
  std::uint32_t layers = 3;
};

/// A random model of float32 weights whose heads the kernels take.
std::string write_model(const Variant& variant) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  struct Stored {
    std::string name;
    std::vector<std::uint64_t> shape;
    float scale, mean;
  };
  std::vector<Stored> tensors{{"token_embd.weight", {hidden, vocab}, 1, 0},
                              {"output_norm.weight", {hidden}, 0.1f, 1}};
  for (std::uint32_t n = 0; n < variant.layers; ++n) {
    const std::string block = "blk." + std::to_string(n) + ".";
    const float in = 1 / std::sqrt(float(hidden));
    tensors.push_back({block + "attn_norm.weight", {hidden}, 0.1f, 1});
    tensors.push_back({block + "attn_q.weight", {hidden, q_heads * dim}, 2 * in, 0});
    tensors.push_back({block + "attn_k.weight", {hidden, kv_heads * dim}, 2 * in, 0});
    tensors.push_back({block + "attn_v.weight", {hidden, kv_heads * dim}, in, 0});
    tensors.push_back({block + "attn_output.weight", {q_heads * dim, hidden}, 0.06f, 0});
    tensors.push_back({block + "ffn_norm.weight", {hidden}, 0.1f, 1});
    tensors.push_back({block + "ffn_gate.weight", {hidden, ffn}, in, 0});
    tensors.push_back({block + "ffn_up.weight", {hidden, ffn}, in, 0});
    tensors.push_back({block + "ffn_down.weight", {ffn, hidden}, 0.07f, 0});
    if (variant.biases) {
      tensors.push_back({block + "attn_q.bias", {q_heads * dim}, 0.5f, 0});
      tensors.push_back({block + "attn_k.bias", {kv_heads * dim}, 0.5f, 0});
      tensors.push_back({block + "attn_v.bias", {kv_heads * dim}, 0.5f, 0});
    }
    for (const char* norm : {"attn_q_norm.weight", "attn_k_norm.weight"}) {
      if (variant.head_norms) tensors.push_back({block + norm, {dim}, 0.1f, 1});
    }
    for (const char* norm : {"post_attention_norm.weight", "post_ffw_norm.weight"}) {
      if (variant.post_norms) tensors.push_back({block + norm, {hidden}, 0.1f, 1});
    }
  }
  GgufBytes file;
  const auto key = [&](const char* name) { return variant.name + "." + name; };
  const auto f32_entry = [&](const std::string& name, float value) {
    file.put_string(name).put<std::uint32_t>(6).put(value);
  };
  file.header(tensors.size(), variant.window > 0 ? 13 : 12);
  file.string_entry("general.architecture", variant.name);
  file.u32_entry(key("block_count"), variant.layers).u32_entry(key("context_length"), 4096);
  file.u32_entry(key("embedding_length"), hidden).u32_entry(key("feed_forward_length"), ffn);
  file.u32_entry(key("attention.head_count"), q_heads).u32_entry(key("attention.head_count_kv"), kv_heads);
  file.u32_entry(key("rope.dimension_count"), dim).u32_entry(key("vocab_size"), vocab);
  file.u32_entry(key("attention.key_length"), dim);
  f32_entry(key("rope.freq_base"), 10000);
  f32_entry(key("attention.layer_norm_rms_epsilon"), 1e-5f);
  if (variant.window > 0) file.u32_entry(key("attention.sliding_window"), variant.window);
  std::uint64_t offset = 0;
  const auto bytes = [](const Stored& stored) {
    std::uint64_t items = 1;
    for (const std::uint64_t side : stored.shape) items *= side;
    return items * 4;
  };
  for (const Stored& stored : tensors) {
    file.tensor_entry(stored.name, stored.shape, 0, offset);
    offset += (bytes(stored) + 31) / 32 * 32;
  }
  file.pad();
  for (const Stored& stored : tensors) {
    for (std::uint64_t n = 0; n < bytes(stored) / 4; ++n)
      file.put(stored.mean + stored.scale * normal(random));
    file.pad();
  }
  const std::string path = (std::filesystem::temp_directory_path() / "anchor_gpu_llama.gguf").string();
  write_bytes(path, file.bytes);
  return path;
}

double relative_l2(std::span<const float> got, std::span<const float> expected) {
  double difference = 0, whole = 0;
  for (std::size_t n = 0; n < got.size(); ++n) {
    difference += std::pow(static_cast<double>(got[n]) - static_cast<double>(expected[n]), 2);
    whole += std::pow(static_cast<double>(expected[n]), 2);
  }
  return std::sqrt(difference / whole);
}

}  // namespace

TEST_CASE("the forward pass on the device is the CPU's within bf16 rounding, dense and sparse") {
  Variant variant;
  SUBCASE("Llama") { variant = {.name = "llama"}; }
  SUBCASE("biases") { variant = {.name = "qwen2", .biases = true}; }
  SUBCASE("norms of heads") { variant = {.name = "qwen3", .head_norms = true}; }
  SUBCASE("windows, post norms, GELU, two bases") {
    variant = {.name = "gemma3", .head_norms = true, .post_norms = true, .window = 100, .layers = 6};
  }
  SUBCASE("layers without rotation") { variant = {.name = "smollm3", .layers = 4}; }
  CAPTURE(variant.name);
  const GgufFile file(write_model(variant));
  const LanguageModel model(file);
  std::vector<int> tokens(700);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int>((i * i + 3 * i) % vocab);
  const Ropes rope = model.ropes(std::nullopt, 700);
  const auto device = make_cuda_model(model, 0);
  const Method& anchor = find_method("anchor");
  Params params = default_params(anchor);
  set_param(anchor, params, "step", "1");
  set_param(anchor, params, "theta", "2");

  for (const bool sparse : {false, true}) {
    CAPTURE(sparse);
    MethodAttention here(anchor, params, {}), there(anchor, params, {});
    std::vector<std::vector<float>> q, k, v, out;
    const auto copy = [](const float* from, std::int64_t count) {
      return std::vector<float>(from, from + count);
    };
    const auto keep = [&](auto& into_q, auto& into_k, auto& into_v, auto& into_out) {
      return [&](int, const AttentionInputs& in, const AttentionResult& result) {
        into_q.push_back(copy(in.q, q_heads * 700 * dim));
        into_k.push_back(copy(in.k, kv_heads * 700 * dim));
        into_v.push_back(copy(in.v, kv_heads * 700 * dim));
        into_out.push_back(result.out);
      };
    };
    const AttentionFn attention = [&](int layer, const AttentionInputs& in) {
      return sparse ? here.attend(layer, in) : dense_attention(in);
    };
    const AlignedVector<float> final = model.forward(tokens, rope, {attention, keep(q, k, v, out), {}});
    std::vector<std::vector<float>> dq, dk, dv, dout;
    const std::vector<double> nll = device->forward(
        tokens, rope,
        {sparse ? &there : nullptr, [](int) { return true; }, true, keep(dq, dk, dv, dout), {}});
    REQUIRE(dq.size() == variant.layers);
    for (std::size_t layer = 0; layer < variant.layers; ++layer) {
      // Each product rounds its inputs to 2^-9 of them; errors of several layers add up.
      const double bound = 0.01 * static_cast<double>(layer + 1);
      CHECK(relative_l2(dq[layer], q[layer]) < bound);
      CHECK(relative_l2(dk[layer], k[layer]) < bound);
      CHECK(relative_l2(dv[layer], v[layer]) < bound);
      CHECK(relative_l2(dout[layer], out[layer]) < (sparse ? 5 : 1) * bound);  // a stripe more or less
    }
    REQUIRE(nll.size() == 699);
    double mean = 0;
    for (const double one : nll) mean += one / 699;
    CHECK(std::abs(mean - model.mean_nll(tokens, final)) < 0.04);
    if (sparse) CHECK(there.stats().density() == doctest::Approx(here.stats().density()).epsilon(0.01));
  }
}
