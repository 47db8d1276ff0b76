#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
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
  info.has_ref_out = info.has_ref_lse = true;
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
  writer.begin_layer(info.layer);
  for (const Part part : all_parts) writer.append(part, numbered(info, part));
  writer.end_layer();
}

DumpHeader header(std::int64_t seq_len) {
  return {"a model", seq_len, "test", "1", "", {{"tokenizer", "none"}}, 7, "", {}};
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const char* word) { return text.find(word) != std::string::npos; }

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
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
        DumpWriter writer(path, {header(kv_len), {first, second}, ids, {}});
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

TEST_CASE("how a layer was rotated is kept, and only what can be is taken") {
  const Folder folder;
  const std::string path = folder / "d.h5";
  LayerInfo turned = make_layer(0, 2, 1, 5, 5, 8, DType::f32),
            plain = make_layer(1, 2, 1, 5, 5, 8, DType::f32);
  turned.rope = DumpRope{{1.f, 0.1f, 0.f}, 1.25};
  {
    DumpWriter writer(path, {header(5), {turned, plain}, {}, {}});
    write_layer(writer, turned);
    write_layer(writer, plain);
    writer.finish();
  }
  const DumpReader reader(path);
  CHECK(reader.layer(0).rope == turned.rope);
  CHECK(!reader.layer(1).rope);
  CHECK(contains(content_of(path), "1.1"));
  const auto refused = [&](const DumpRope& rope) {
    turned.rope = rope;
    return message_of([&] { const DumpWriter writer(path, {header(5), {turned}, {}, {}}); });
  };
  CHECK(contains(refused({{}, 1}), "0 frequencies for heads of 8"));
  CHECK(contains(refused({std::vector<float>(5, 1.f), 1}), "5 frequencies for heads of 8"));
  CHECK(contains(refused({{-1.f}, 1}), "rope_inv_freq holds -1"));
  CHECK(contains(refused({{1.f}, 0}), "rope_attention_factor is 0"));
  // Other frequencies are another request.
  turned.rope = DumpRope{{1.f, 0.1f}, 1};
  {
    DumpWriter writer(path, {header(5), {turned, plain}, {}, {}});
    write_layer(writer, turned);
  }
  turned.rope->inv_freq[1] = 0.2f;
  CHECK(contains(
      message_of([&] {
        const DumpWriter writer(path, {header(5), {turned, plain}, {}, {}}, DumpWriter::Mode::resume);
      }),
      "layer 0"));
}

TEST_CASE("a dump that was not finished keeps its layers, and resume adds the rest") {
  const Folder folder;
  const std::string path = folder / "d.h5", part = path + ".part";
  const LayerInfo first = make_layer(0, 2, 1, 6, 6, 8, DType::bf16),
                  second = make_layer(1, 2, 1, 6, 6, 8, DType::bf16);
  const DumpPlan plan{header(6), {first, second}, {}, {}};
  {
    DumpWriter writer(path, plan);
    write_layer(writer, first);
    writer.begin_layer(1);
    writer.append(Part::q, numbered(second, Part::q));
  }
  CHECK(!fs::exists(path));
  CHECK(message_of([&] { DumpReader reader(part); }).find("--allow-incomplete") != std::string::npos);
  CHECK(DumpReader(part, DumpReader::Strictness::allow_incomplete).layers().size() == 1);

  const auto refusal = [&](const std::function<void(DumpPlan&)>& change) {
    DumpPlan other = plan;
    change(other);
    return message_of([&] { DumpWriter writer(path, other, DumpWriter::Mode::resume); });
  };
  const std::string before = content_of(part);
  CHECK(contains(refusal([](DumpPlan& p) { p.header.seed = 8; }), "seed"));
  CHECK(contains(refusal([](DumpPlan& p) { p.header.model += "b"; }), "model"));
  CHECK(contains(refusal([](DumpPlan& p) { p.header.text["tokenizer"] = "other"; }), "tokenizer"));
  CHECK(contains(refusal([](DumpPlan& p) { p.header.text["history"] = "new"; }), "history"));
  CHECK(contains(refusal([](DumpPlan& p) { p.header.request = "theta=3"; }), "another request"));
  CHECK(contains(refusal([](DumpPlan& p) { p.input_ids = {1}; }), "text"));
  CHECK(contains(refusal([](DumpPlan& p) { p.layers.pop_back(); }), "layers"));
  CHECK(contains(refusal([](DumpPlan& p) { p.layers[0].geometry.head_dim = 16; }), "layer 0"));
  CHECK(contains(refusal([](DumpPlan& p) { p.layers[1].geometry.softmax_scale = 1; }), "layer 1"));
  CHECK(contains(refusal([](DumpPlan& p) { p.layers[1].has_ref_lse = false; }), "layer 1"));
  CHECK(content_of(part) == before);
  {
    DumpWriter writer(path, plan, DumpWriter::Mode::resume);
    CHECK(writer.has_layer(0));
    CHECK(!writer.has_layer(1));
    CHECK(contains(message_of([&] { DumpWriter second_writer(path, plan); }), "locked by another process"));
    CHECK(contains(message_of([&] { writer.begin_layer(0); }), "layer 0 is complete"));
    write_layer(writer, second);
    writer.finish();
  }
  CHECK(!fs::exists(part));
  CHECK(DumpReader(path).layers().size() == 2);
}

TEST_CASE("layers that replay has no semantics for can be inspected only, windows are read") {
  const Folder folder;
  const std::string path = folder / "d.h5";
  {
    DumpPlan plan{header(6), {}, {}, {}};
    for (int layer = 0; layer < 3; ++layer)
      plan.layers.push_back(make_layer(layer, 2, 1, 6, 6, 8, DType::f32));
    plan.layers[0].geometry.sliding_window = 4;
    plan.layers[1].geometry.causal = false;
    plan.layers[2].rope_applied = false;
    DumpWriter writer(path, plan);
    for (const LayerInfo& info : plan.layers) write_layer(writer, info);
    writer.finish();
  }
  const DumpReader reader(path);
  CHECK(reader.layers().size() == 3);
  CHECK(reader.read_group(0, 0).geometry.sliding_window == 4);  // replayed within it
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

TEST_CASE("numbers that the stored type cannot hold are refused by place and name") {
  const Folder folder;
  const auto refusal = [&](DType dtype, float value) {
    const LayerInfo info = make_layer(0, 2, 1, 6, 6, 8, dtype);
    std::vector<float> q(2 * 6 * 8, 1.0f);
    q[6 * 8 + 3 * 8 + 5] = value;
    DumpWriter writer(folder / "f.h5", {header(6), {info}, {}, {}});
    writer.begin_layer(0);
    return message_of([&] { writer.append(Part::q, q); });
  };
  CHECK(contains(refusal(DType::f16, 70000),
                 "layer 0, q[head 1, token 3, 5] is 70000, which overflows f16; write"));
  CHECK(contains(refusal(DType::bf16, 3.4e38f), "overflows bf16"));
  CHECK(contains(refusal(DType::f32, std::numeric_limits<float>::quiet_NaN()), "is NaN"));
  CHECK(contains(refusal(DType::bf16, -std::numeric_limits<float>::infinity()), "is infinite"));
  CHECK(refusal(DType::f16, 65504) == "");
}

TEST_CASE(
    "stored bytes that are no numbers are refused, too, and nothing is left of a dump without a layer") {
  const Folder folder;
  DumpWriter writer(folder / "f.h5", {header(6), {make_layer(0, 1, 1, 6, 6, 8, DType::f16)}, {}, {}});
  CHECK(fs::exists(folder / "f.h5.part"));
  writer.begin_layer(0);
  std::vector<std::uint16_t> k(6 * 8, 0x3c00);
  k[2 * 8 + 1] = 0x7c00;
  CHECK(contains(message_of([&] { writer.append(Part::k, std::as_bytes(std::span(k))); }),
                 "layer 0, k[head 0, token 2, 1] is infinite: f16 ends at 65504"));
  CHECK(!fs::exists(folder / "f.h5.part"));
}

TEST_CASE("a layer that no reader would take is not written") {
  const Folder folder;
  const auto refusal = [&](const std::function<void(LayerInfo&)>& change) {
    LayerInfo info = make_layer(0, 2, 1, 6, 8, 8, DType::f32);
    change(info);
    return message_of([&] { DumpWriter writer(folder / "f.h5", {header(8), {info}, {}, {}}); });
  };
  CHECK(refusal([](LayerInfo&) {}) == "");
  CHECK(contains(refusal([](LayerInfo& i) { i.geometry.kv_heads = 3; }), "not a multiple of 3"));
  CHECK(contains(refusal([](LayerInfo& i) { i.geometry.softmax_scale = 0; }), "softmax_scale is 0"));
  CHECK(contains(
      refusal([](LayerInfo& i) { i.geometry.softmax_scale = std::numeric_limits<double>::quiet_NaN(); }),
      "nan"));
  CHECK(contains(refusal([](LayerInfo& i) { i.geometry.q_start = 3; }), "do not lie among the 8 keys"));
  CHECK(contains(refusal([](LayerInfo& i) { i.geometry.q_len = 9; }), "head, token, dim"));
  CHECK(contains(refusal([](LayerInfo& i) { i.geometry.sliding_window = -1; }), "sliding_window"));
  CHECK(contains(refusal([](LayerInfo& i) { i.geometry.kv_len = std::int64_t{1} << 58; }), "make no layer"));
  CHECK(contains(refusal([](LayerInfo& i) { i.geometry.q_heads = 1 << 20; }), "not a multiple"));
  CHECK(contains(refusal([](LayerInfo& i) { i.layer = -1; }), "no layer number -1"));
}
