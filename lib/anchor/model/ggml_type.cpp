#include "anchor/model/ggml_type.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "anchor/base/dtype.hpp"

namespace anchor {
namespace {

using Decode = void (*)(const std::uint8_t* block, float* out);

float half_at(const std::uint8_t* p) {
  std::uint16_t bits;
  std::memcpy(&bits, p, 2);
  return f16_to_float(bits);
}

std::uint32_t word_at(const std::uint8_t* p) {
  std::uint32_t bits;
  std::memcpy(&bits, p, 4);
  return bits;
}

void decode_f32(const std::uint8_t* b, float* out) { std::memcpy(out, b, 4); }
void decode_f16(const std::uint8_t* b, float* out) { *out = half_at(b); }
void decode_bf16(const std::uint8_t* b, float* out) {
  std::uint16_t bits;
  std::memcpy(&bits, b, 2);
  *out = bf16_to_float(bits);
}

void decode_q8_0(const std::uint8_t* b, float* out) {
  const float d = half_at(b);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<std::int8_t>(b[2 + i]));
}

// The 4- and 5-bit types of 32 elements: low nibbles hold elements 0..15, high nibbles 16..31; a fifth bit
// per element sits in `high`. Element = q * scale + offset, or (q - center) * scale.
void decode_nibbles(const std::uint8_t* q, std::uint32_t high, int center, float scale, float offset,
                    float* out) {
  for (int i = 0; i < 16; ++i) {
    const int low = (q[i] & 0xF) | static_cast<int>((high >> i) & 1u) << 4;
    const int top = (q[i] >> 4) | static_cast<int>((high >> (i + 16)) & 1u) << 4;
    out[i] = static_cast<float>(low - center) * scale + offset;
    out[i + 16] = static_cast<float>(top - center) * scale + offset;
  }
}

void decode_q4_0(const std::uint8_t* b, float* out) { decode_nibbles(b + 2, 0, 8, half_at(b), 0, out); }
void decode_q4_1(const std::uint8_t* b, float* out) {
  decode_nibbles(b + 4, 0, 0, half_at(b), half_at(b + 2), out);
}
void decode_q5_0(const std::uint8_t* b, float* out) {
  decode_nibbles(b + 6, word_at(b + 2), 16, half_at(b), 0, out);
}
void decode_q5_1(const std::uint8_t* b, float* out) {
  decode_nibbles(b + 8, word_at(b + 4), 0, half_at(b), half_at(b + 2), out);
}

// Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima into 12 bytes.
void scale_and_min(const std::uint8_t* s, int j, int& scale, int& minimum) {
  if (j < 4) {
    scale = s[j] & 63;
    minimum = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 0xF) | (s[j - 4] >> 6) << 4;
    minimum = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
  }
}

// 256 elements as eight runs of 32; runs 2c and 2c+1 are the low and high nibbles of bytes [32c, 32c + 32).
void decode_k_nibbles(const std::uint8_t* b, const std::uint8_t* high, const std::uint8_t* q, float* out) {
  const float d = half_at(b), dmin = half_at(b + 2);
  for (int run = 0; run < 8; ++run) {
    int scale = 0, minimum = 0;
    scale_and_min(b + 4, run, scale, minimum);
    const float step = d * static_cast<float>(scale), shift = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i) {
      const int nibble = (q[32 * (run / 2) + i] >> (4 * (run % 2))) & 0xF;
      const int fifth = high ? (high[i] >> run) & 1 : 0;
      out[32 * run + i] = step * static_cast<float>(nibble | fifth << 4) - shift;
    }
  }
}

void decode_q4_k(const std::uint8_t* b, float* out) { decode_k_nibbles(b, nullptr, b + 16, out); }
void decode_q5_k(const std::uint8_t* b, float* out) { decode_k_nibbles(b, b + 16, b + 48, out); }

void decode_q6_k(const std::uint8_t* b, float* out) {
  const std::uint8_t *low = b, *high = b + 128, *scales = b + 192;
  const float d = half_at(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, run = i % 128 / 32, lane = i % 32;
    const int nibble = (low[64 * half + 32 * (run % 2) + lane] >> (4 * (run / 2))) & 0xF;
    const int top = (high[32 * half + lane] >> (2 * run)) & 3;
    const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[i / 16]));
    out[i] = scale * static_cast<float>((nibble | top << 4) - 32);
  }
}

struct TypeRow {
  GgmlType type;
  const char* name;
  BlockSize block;
  Decode decode;
};

constexpr std::array<TypeRow, 11> types{{
    {GgmlType::f32, "F32", {1, 4}, decode_f32},
    {GgmlType::f16, "F16", {1, 2}, decode_f16},
    {GgmlType::bf16, "BF16", {1, 2}, decode_bf16},
    {GgmlType::q8_0, "Q8_0", {32, 34}, decode_q8_0},
    {GgmlType::q4_0, "Q4_0", {32, 18}, decode_q4_0},
    {GgmlType::q4_1, "Q4_1", {32, 20}, decode_q4_1},
    {GgmlType::q5_0, "Q5_0", {32, 22}, decode_q5_0},
    {GgmlType::q5_1, "Q5_1", {32, 24}, decode_q5_1},
    {GgmlType::q4_k, "Q4_K", {256, 144}, decode_q4_k},
    {GgmlType::q5_k, "Q5_K", {256, 176}, decode_q5_k},
    {GgmlType::q6_k, "Q6_K", {256, 210}, decode_q6_k},
}};

const TypeRow* find(std::uint32_t number) {
  for (const TypeRow& row : types) {
    if (static_cast<std::uint32_t>(row.type) == number) return &row;
  }
  return nullptr;
}

// Types of ggml that exist but are not read, so that an error can name them.
constexpr std::pair<std::uint32_t, const char*> unread_types[] = {
    {4, "Q4_2"},     {5, "Q4_3"},    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},
    {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
    {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},
    {28, "F64"},     {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"}};

}  // namespace

std::optional<GgmlType> parse_ggml_type(std::uint32_t number) {
  const TypeRow* row = find(number);
  return row ? std::optional(row->type) : std::nullopt;
}

std::string ggml_type_name(std::uint32_t number) {
  if (const TypeRow* row = find(number)) return row->name;
  for (const auto& [known, name] : unread_types) {
    if (known == number) return name;
  }
  return fmt::format("type {}", number);
}

std::string supported_ggml_types() {
  std::string names;
  for (const TypeRow& row : types) names.append(names.empty() ? "" : " ").append(row.name);
  return names;
}

BlockSize block_size(GgmlType type) { return find(static_cast<std::uint32_t>(type))->block; }

void dequantize(GgmlType type, const std::byte* blocks, std::int64_t count, float* out) {
  const TypeRow& row = *find(static_cast<std::uint32_t>(type));
  const auto* block = reinterpret_cast<const std::uint8_t*>(blocks);
  for (std::int64_t i = 0; i < count; i += row.block.elements, block += row.block.bytes)
    row.decode(block, out + i);
}

}  // namespace anchor
