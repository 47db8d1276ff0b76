#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/data/dump_reader.hpp"
#include "anchor/data/dump_writer.hpp"

using namespace anchor;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("anchor_dump_test_{}", getpid());
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return path / name; }
};

LayerInfo make_layer(int layer, int q_heads, int kv_heads, std::int64_t q_len, std::int64_t kv_len, int dim,
                     DType dtype) {
  LayerInfo info{layer, {}, dtype};
  info.geometry = {q_heads, kv_heads, q_len, kv_len, kv_len - q_len, dim, 0.125};
  return info;
}

// Every element differs from its neighbours, and says where it belongs.
std::vector<float> numbered(const LayerInfo& info, Part part) {
  const auto shape = shape_of(info, part);
  std::vector<float> values(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>((i * 37 + static_cast<std::size_t>(part) * 11 + info.layer) % 251) - 125;
  }
  return values;
}

void write_layer(DumpWriter& writer, const LayerInfo& info) {
  writer.begin_layer(info);
  for (const Part part : all_parts) writer.append(part, numbered(info, part));
  writer.end_layer();
}

DumpHeader header(std::int64_t seq_len) {
  return {"a model", seq_len, "test", "1", "", {{"tokenizer", "none"}}, 7};
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("what was written is read back, head by head, whole or as a prefix") {
  const Folder folder;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const auto& [q_heads, kv_heads, q_len, kv_len, dim] : {std::tuple{1, 1, 1, 1, 1},
                                                                {4, 2, 5, 5, 3},
                                                                {9, 1, 7, 7, 80},
                                                                {6, 3, 4, 9, 64},
                                                                {2, 2, 300, 300, 128}}) {
      const std::string path = folder / "d.h5";
      const LayerInfo first = make_layer(0, q_heads, kv_heads, q_len, kv_len, dim, dtype);
      const LayerInfo second = make_layer(12, q_heads, kv_heads, q_len, kv_len, dim, dtype);
      const std::vector<std::int32_t> ids{1, -5, 70000};
      {
        DumpWriter writer(path, header(kv_len), ids);
        write_layer(writer, first);
        write_layer(writer, second);
        writer.finish();
      }
      const DumpReader reader(path);
      CHECK(reader.header().model == "a model");
      CHECK(reader.header().seq_len == kv_len);
      CHECK(reader.header().seed == 7);
      CHECK(reader.header().text.at("tokenizer") == "none");
      CHECK(reader.input_ids() == ids);
      REQUIRE(reader.layers().size() == 2);
      CHECK(reader.layer(12).geometry == second.geometry);
      CHECK(reader.layer(12).dtype == dtype);
      for (const LayerInfo& info : {first, second}) {
        for (const Part part : all_parts) {
          const auto shape = shape_of(info, part);
          const Tensor tensor = reader.read(info.layer, part, 0, shape[0]);
          CHECK(tensor.shape == shape);
          const auto values = tensor.to_float();
          const auto wanted = numbered(info, part);
          CHECK(std::equal(values.begin(), values.end(), wanted.begin(), wanted.end()));
          CHECK(reader.compute_hash(info.layer, part) == reader.content_hash(info.layer, part));
        }
        const int heads = q_heads / kv_heads;
        for (int kv_head = 0; kv_head < kv_heads; ++kv_head) {
          const KvGroup whole = reader.read_group(info.layer, kv_head);
          CHECK(whole.geometry.q_heads == heads);
          CHECK(whole.geometry.kv_heads == 1);
          CHECK(whole.first_q_head == kv_head * heads);
          CHECK(whole.q.bytes == reader.read(info.layer, Part::q, kv_head * heads, heads).bytes);
          CHECK(whole.k.bytes == reader.read(info.layer, Part::k, kv_head, 1).bytes);
          for (std::int64_t tokens = kv_len - q_len + 1; tokens <= kv_len;
               tokens += std::max(1, kv_len / 3)) {
            const KvGroup part = reader.read_group(info.layer, kv_head, tokens);
            CHECK(part.geometry.kv_len == tokens);
            CHECK(part.geometry.q_start == whole.geometry.q_start);
            CHECK(part.geometry.q_len == tokens - whole.geometry.q_start);
            const std::size_t row = static_cast<std::size_t>(dim) * size_of(dtype);
            for (int h = 0; h < heads; ++h) {  // every head's first rows, byte for byte
              const auto* a = part.q.bytes.data() + h * part.geometry.q_len * row;
              const auto* b = whole.q.bytes.data() + h * whole.geometry.q_len * row;
              CHECK(std::equal(a, a + part.geometry.q_len * row, b));
            }
            CHECK(std::equal(part.v.bytes.begin(), part.v.bytes.end(), whole.v.bytes.begin()));
          }
        }
      }
    }
  }
}

TEST_CASE("a dump that was not finished keeps its layers, and resume adds the rest") {
  const Folder folder;
  const std::string path = folder / "d.h5", part = path + ".part";
  const LayerInfo first = make_layer(0, 2, 1, 6, 6, 8, DType::bf16),
                  second = make_layer(1, 2, 1, 6, 6, 8, DType::bf16);
  {
    DumpWriter writer(path, header(6));
    write_layer(writer, first);
    writer.begin_layer(second);
    writer.append(Part::q, numbered(second, Part::q));
  }
  CHECK(!fs::exists(path));
  CHECK(message_of([&] { DumpReader reader(part); }).find("--allow-incomplete") != std::string::npos);
  CHECK(DumpReader(part, DumpReader::Strictness::allow_incomplete).layers().size() == 1);

  DumpHeader other = header(6);
  other.seed = 8;
  CHECK(message_of([&] { DumpWriter writer(path, other, {}, DumpWriter::Mode::resume); }).find("seed") !=
        std::string::npos);
  const std::vector<std::int32_t> ids{1};
  CHECK(message_of([&] { DumpWriter writer(path, header(6), ids, DumpWriter::Mode::resume); }).find("text") !=
        std::string::npos);
  {
    DumpWriter writer(path, header(6), {}, DumpWriter::Mode::resume);
    LayerInfo wider = first;
    wider.geometry.head_dim = 16;
    CHECK(message_of([&] { writer.has_layer(wider); }).find("another shape") != std::string::npos);
    CHECK(writer.has_layer(first));
    CHECK(!writer.has_layer(second));
    write_layer(writer, second);
    writer.finish();
  }
  CHECK(!fs::exists(part));
  CHECK(DumpReader(path).layers().size() == 2);
}

TEST_CASE("layers that replay has no semantics for can be inspected only") {
  const Folder folder;
  const std::string path = folder / "d.h5";
  {
    DumpWriter writer(path, header(6));
    LayerInfo info = make_layer(0, 2, 1, 6, 6, 8, DType::f32);
    info.geometry.sliding_window = 4;
    write_layer(writer, info);
    info = make_layer(1, 2, 1, 6, 6, 8, DType::f32);
    info.geometry.causal = false;
    write_layer(writer, info);
    info = make_layer(2, 2, 1, 6, 6, 8, DType::f32);
    info.rope_applied = false;
    write_layer(writer, info);
    writer.finish();
  }
  const DumpReader reader(path);
  CHECK(reader.layers().size() == 3);
  CHECK(message_of([&] { reader.read_group(0, 0); }).find("sliding window") != std::string::npos);
  CHECK(message_of([&] { reader.read_group(1, 0); }).find("not causal") != std::string::npos);
  CHECK(message_of([&] { reader.read_group(2, 0); }).find("RoPE") != std::string::npos);
  CHECK(message_of([&] { reader.read_group(3, 0); }).find("it has 0, 1, 2") != std::string::npos);
}

TEST_CASE("the first NaN or infinity is named with the model's head numbers") {
  KvGroup group;
  group.layer = 3;
  group.kv_head = 2;
  group.first_q_head = 4;
  std::vector<float> q(2 * 5 * 4, 1.0f), k(5 * 4, 1.0f);
  group.v = group.k = Tensor::from_float(DType::bf16, {1, 5, 4}, k);
  group.q = Tensor::from_float(DType::bf16, {2, 5, 4}, q);
  CHECK(first_non_finite(group).empty());
  k[4 * 4 + 1] = -std::numeric_limits<float>::infinity();
  group.k = Tensor::from_float(DType::bf16, {1, 5, 4}, k);
  CHECK(first_non_finite(group) == "layer 3, k[head 2, token 4, 1] is infinite");
  q[(5 + 2) * 4 + 3] = std::numeric_limits<float>::quiet_NaN();
  group.q = Tensor::from_float(DType::bf16, {2, 5, 4}, q);
  CHECK(first_non_finite(group) == "layer 3, q[head 5, token 2, 3] is NaN");
}
