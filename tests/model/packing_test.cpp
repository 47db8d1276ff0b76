#include "anchor/model/packing.hpp"

#include <doctest/doctest.h>

#include "anchor/base/dtype.hpp"
#include "anchor/model/gguf.hpp"
#include "model/golden.hpp"

using namespace anchor;

namespace {

/// The values of a part, which is bf16 or float32.
std::vector<float> values(const std::vector<std::byte>& packed, const PackedLayer::Part& part, DType dtype) {
  std::vector<float> found(part.bytes / size_of(dtype));
  to_float(dtype, packed.data() + part.begin, found);
  return found;
}

std::vector<float> rounded(std::vector<float> exact) {
  for (float& value : exact) value = round_bf16(value);
  return exact;
}

}  // namespace

TEST_CASE("a packed layer holds what expanding it gives, rounded to bf16") {
  const GgufFile file(golden_path("tiny_llama.gguf"));
  const LanguageModel model(file);
  for (int layer = 0; layer < model.config().layers; ++layer) {
    const PackedLayer parts = packed_layer(model, layer);
    std::vector<std::byte> packed(parts.bytes, std::byte{0xff});
    pack_layer(model, layer, parts, packed.data());
    LanguageModel::Layer w;
    model.expand(layer, w);
    CHECK(values(packed, parts.attention_norm, DType::f32) == w.attention_norm);
    CHECK(values(packed, parts.ffn_norm, DType::f32) == w.ffn_norm);
    CHECK(values(packed, parts.qkv_bias, DType::f32) == w.qkv_bias);
    CHECK(values(packed, parts.qkv, DType::bf16) == rounded(w.qkv));
    CHECK(values(packed, parts.output, DType::bf16) == rounded(w.output));
    CHECK(values(packed, parts.gate_up, DType::bf16) == rounded(w.gate_up));
    CHECK(values(packed, parts.down, DType::bf16) == rounded(w.down));
    CHECK(parts.router.bytes == 0);
  }
}
