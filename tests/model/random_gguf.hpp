#pragma once

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "model/gguf_writer.hpp"

/// Random models of float32 weights whose heads the GPU kernels take.
namespace anchor::random_gguf {

inline constexpr int hidden = 128, ffn = 192, vocab = 300, q_heads = 4, kv_heads = 2, dim = 64;

/// What a model has besides Llama's parts.
struct Variant {
  std::string name;
  bool biases = false;      ///< of queries, keys and values
  bool head_norms = false;  ///< of queries and keys
  bool post_norms = false;
  std::uint32_t window = 0;
  std::uint32_t layers = 3;
  std::uint32_t experts = 0;  ///< two of them for each row
};

/// Writes one; returns its path.
inline std::string write_model(const Variant& variant) {
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
    if (variant.experts > 0) {  // a steep router: rounding seldom sends a row elsewhere
      tensors.push_back({block + "ffn_gate_inp.weight", {hidden, variant.experts}, 8 * in, 0});
      tensors.push_back({block + "ffn_gate_exps.weight", {hidden, ffn, variant.experts}, in, 0});
      tensors.push_back({block + "ffn_up_exps.weight", {hidden, ffn, variant.experts}, in, 0});
      tensors.push_back({block + "ffn_down_exps.weight", {ffn, hidden, variant.experts}, 0.07f, 0});
    } else {
      tensors.push_back({block + "ffn_gate.weight", {hidden, ffn}, in, 0});
      tensors.push_back({block + "ffn_up.weight", {hidden, ffn}, in, 0});
      tensors.push_back({block + "ffn_down.weight", {ffn, hidden}, 0.07f, 0});
    }
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
  file.header(tensors.size(), 12u + (variant.window > 0) + (variant.experts > 0 ? 3 : 0));
  file.string_entry("general.architecture", variant.name);
  file.u32_entry(key("block_count"), variant.layers).u32_entry(key("context_length"), 4096);
  file.u32_entry(key("embedding_length"), hidden).u32_entry(key("feed_forward_length"), ffn);
  file.u32_entry(key("attention.head_count"), q_heads).u32_entry(key("attention.head_count_kv"), kv_heads);
  file.u32_entry(key("rope.dimension_count"), dim).u32_entry(key("vocab_size"), vocab);
  file.u32_entry(key("attention.key_length"), dim);
  f32_entry(key("rope.freq_base"), 10000);
  f32_entry(key("attention.layer_norm_rms_epsilon"), 1e-5f);
  if (variant.window > 0) file.u32_entry(key("attention.sliding_window"), variant.window);
  if (variant.experts > 0) {
    file.u32_entry(key("expert_count"), variant.experts).u32_entry(key("expert_used_count"), 2);
    file.u32_entry(key("expert_feed_forward_length"), ffn);
  }
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
  const std::string path =
      std::filesystem::temp_directory_path() / ("anchor_random_" + std::to_string(getpid()) + ".gguf");
  write_bytes(path, file.bytes);
  return path;
}

}  // namespace anchor::random_gguf
