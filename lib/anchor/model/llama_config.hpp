#pragma once

#include <cstdint>
#include <string>

#include "anchor/model/gguf.hpp"

namespace anchor {

/// Sizes and constants of a Llama-architecture model.
struct LlamaConfig {
  std::string name;
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t ffn_size = 0;
  std::int64_t context_length = 0;  ///< tokens that the model was trained for
  int layers = 0;
  int q_heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  double rms_norm_eps = 0;
  double rope_theta = 0;
  bool tied_embeddings = false;  ///< the output projection is the embedding matrix

  /// The same numbers under the names of a Hugging Face config.json.
  std::string to_json() const;
};

/// Reads and checks the metadata of a GGUF file. Throws a data error that names what is missing, out of range
/// or an architecture other than "llama".
LlamaConfig read_llama_config(const GgufFile& file);

}  // namespace anchor
