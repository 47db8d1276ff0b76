#include "anchor/data/dump_reader.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "anchor/base/error.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/data/layer_rotation.hpp"
#include "anchor/data/non_finite.hpp"

namespace anchor {
namespace {

StoredTensor stored_tensor(const h5::Node& dataset, Part part, const LayerInfo& info) {
  const h5::DatasetLayout& layout = dataset.layout;
  return {dtype_of(dataset),
          shape_of(info, part),
          layout.text,
          layout.offset,
          dataset.unsigned_integer("xxh3_64"),
          layout.stored_bytes};
}

// "1, 3-7"
std::string ranges_text(const std::vector<int>& ascending) {
  std::string text;
  for (std::size_t begin = 0, end = 0; begin < ascending.size(); begin = end) {
    for (end = begin + 1; end < ascending.size() && ascending[end] == ascending[end - 1] + 1;) ++end;
    const int first = ascending[begin], last = ascending[end - 1];
    text += fmt::format("{}{}", text.empty() ? "" : ", ", first);
    if (last > first) text += fmt::format("-{}", last);
  }
  return text;
}

void require_replayable(const LayerInfo& info, const std::string& path) {
  const char* obstacle = nullptr;
  if (!info.geometry.causal) obstacle = "is not causal";
  if (!info.rope_applied) obstacle = "was taken before RoPE";
  if (info.softcap != 0) obstacle = "has a soft cap";
  if (info.has_sink_logits) obstacle = "has attention sinks";
  if (obstacle)
    fail("{}: layer {} {}: attention replay is not defined for it yet", path, info.layer, obstacle);
}

}  // namespace

struct DumpReader::State {
  struct Layer {
    h5::Node node;
    std::map<Part, StoredTensor> stored;
  };
  explicit State(const std::string& path_) : path(path_), file(path_) {}

  std::string path;
  h5::File file;
  DumpHeader header;
  bool complete = false;
  std::vector<LayerInfo> infos;
  std::map<int, Layer> layers;
  std::vector<std::string> problems;
  std::optional<h5::Node> ids;

  void open_layer(h5::Node node, const std::string& name) {
    const LayerInfo info = read_layer_info(file, node, name);
    Layer layer;
    for (const Part part : parts_of(info)) {
      layer.stored[part] = stored_tensor(node.dataset(std::string(name_of(part))), part, info);
    }
    layer.node = std::move(node);
    infos.push_back(info);
    layers.emplace(info.layer, std::move(layer));
  }

  // Opens the layers; what cannot be taken is a problem where the caller tolerates it.
  void open_layers(Strictness strictness) {
    std::vector<int> unfinished;
    const h5::Node all = file.describe("layers");
    for (const auto& [name, unseen] : all.require(h5::Node::Kind::group).children) {
      try {
        h5::Node node = file.describe("layers/" + name, 2);
        if (node.require(h5::Node::Kind::group).integer("complete").value_or(0) == 0) {
          const auto number = node.integer("layer");
          if (strictness == Strictness::complete || !number) fail("{}: the layer is incomplete", node.name);
          unfinished.push_back(static_cast<int>(*number));
          continue;
        }
        open_layer(std::move(node), name);
      } catch (const Error& error) {
        if (strictness == Strictness::complete || error.kind() != ErrorKind::data) throw;
        problems.push_back(error.what());
      }
    }
    std::sort(unfinished.begin(), unfinished.end());
    if (unfinished.size() == 1)
      problems.push_back(fmt::format("{}/{}: the layer is incomplete", all.name, layer_name(unfinished[0])));
    if (unfinished.size() > 1)
      problems.push_back(fmt::format("{}: layers {} are incomplete", all.name, ranges_text(unfinished)));
    std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.layer < b.layer; });
  }

  const Layer& layer(int number) const {
    if (const auto found = layers.find(number); found != layers.end()) return found->second;
    std::vector<int> numbers;
    for (const auto& info : infos) numbers.push_back(info.layer);
    fail("{} has no layer {}; it has {}", path, number, fmt::join(numbers, ", "));
  }
};

DumpReader::DumpReader(std::string path, Strictness strictness) : state_(std::make_unique<State>(path)) {
  State& s = *state_;
  const h5::Node root = s.file.describe("/");
  s.header = read_header(root.require(h5::Node::Kind::group));
  s.complete = root.integer("complete").value_or(0) != 0;
  if (!s.complete && strictness == Strictness::complete) {
    fail("{} is incomplete: its writer did not finish; --allow-incomplete takes the layers that are complete",
         s.path);
  }
  if (!s.complete) s.problems.push_back(s.path + ": incomplete: its writer did not finish");
  if (!root.has("layers")) fail("{}layers: no such group", root.name);
  s.open_layers(strictness);
  if (root.has("input_ids")) s.ids = s.file.describe("input_ids");
  if (s.infos.empty() && strictness != Strictness::inspect) fail("{} has no complete layer", s.path);
  s.file.rest();
}

DumpReader::~DumpReader() = default;

const std::string& DumpReader::path() const { return state_->path; }
const DumpHeader& DumpReader::header() const { return state_->header; }
bool DumpReader::complete() const { return state_->complete; }
const std::vector<LayerInfo>& DumpReader::layers() const { return state_->infos; }
const std::vector<std::string>& DumpReader::problems() const { return state_->problems; }

const LayerInfo& DumpReader::layer(int layer) const {
  state_->layer(layer);
  return *std::find_if(layers().begin(), layers().end(),
                       [&](const auto& info) { return info.layer == layer; });
}

const StoredTensor* DumpReader::stored(int layer, Part part) const {
  const auto& parts = state_->layer(layer).stored;
  const auto found = parts.find(part);
  return found == parts.end() ? nullptr : &found->second;
}

Tensor DumpReader::read(int layer, Part part, std::int64_t first, std::int64_t count, std::int64_t rows,
                        std::pmr::memory_resource* memory) const {
  const auto& owner = state_->layer(layer);
  const std::string where = fmt::format("{}: layer {}, {}", path(), layer, name_of(part));
  const auto found = owner.stored.find(part);
  if (found == owner.stored.end()) fail("{}: not in this dump", where);
  const StoredTensor& stored = found->second;
  if (rows == 0) rows = stored.shape[1];
  if (first < 0 || count < 0 || first + count > stored.shape[0] || rows < 0 || rows > stored.shape[1]) {
    fail("{}: heads {} to {}, {} rows are not all there: the shape is [{}]", where, first, first + count - 1,
         rows, fmt::join(stored.shape, ", "));
  }
  Tensor tensor{stored.dtype,
                {count, rows, stored.shape[2]},
                HostBytes(memory ? memory : std::pmr::get_default_resource())};
  const std::int64_t row_bytes = stored.shape[2] * static_cast<std::int64_t>(size_of(stored.dtype));
  tensor.bytes.resize(static_cast<std::size_t>(count * rows * row_bytes));
  if (stored.offset) {
    const std::int64_t pieces = rows == stored.shape[1] ? 1 : count;  // whole heads are one range
    const std::size_t piece =
        tensor.bytes.size() / static_cast<std::size_t>(std::max<std::int64_t>(pieces, 1));
    for (std::int64_t i = 0; i < pieces; ++i) {
      h5::read_range(state_->file.descriptor(), *stored.offset + (first + i) * stored.shape[1] * row_bytes,
                     std::span(tensor.bytes).subspan(static_cast<std::size_t>(i) * piece, piece), where);
    }
  } else {
    const std::size_t rank = rank_of(part);
    const std::array<std::int64_t, 3> start{first, 0, 0};
    state_->file.read(owner.node.dataset(std::string(name_of(part))), std::span(start).first(rank),
                      std::span(tensor.shape).first(rank), tensor.bytes);
  }
  return tensor;
}

KvGroup DumpReader::read_group(int layer, int kv_head, std::int64_t tokens,
                               std::pmr::memory_resource* memory) const {
  const LayerInfo& info = this->layer(layer);
  require_replayable(info, path());
  if (kv_head < 0 || kv_head >= info.geometry.kv_heads) {
    fail("{}: layer {} has no KV head {}; it has {} of them", path(), layer, kv_head, info.geometry.kv_heads);
  }
  KvGroup group{layer, kv_head, 0, info.geometry, {}, {}, {}};
  Geometry& g = group.geometry;
  if (tokens > 0) {
    if (tokens > g.kv_len || tokens <= g.q_start) {
      fail("{}: layer {} has queries at tokens {} to {}: a prefix of {} tokens is not there", path(), layer,
           g.q_start, g.q_start + g.q_len - 1, tokens);
    }
    g.q_len = std::min(g.q_len, tokens - g.q_start);
    g.kv_len = tokens;
  }
  g.q_heads /= g.kv_heads;
  g.kv_heads = 1;
  group.first_q_head = kv_head * g.q_heads;
  group.q = read(layer, Part::q, group.first_q_head, g.q_heads, g.q_len, memory);
  group.k = read(layer, Part::k, kv_head, 1, g.kv_len, memory);
  group.v = read(layer, Part::v, kv_head, 1, g.kv_len, memory);
  group.rotation = layer_rotation(state_->file, state_->layer(layer).node, state_->header, info);
  return group;
}

std::uint64_t DumpReader::content_hash(int layer, Part part) const {
  const StoredTensor* tensor = stored(layer, part);
  return tensor && tensor->xxh3_64 ? *tensor->xxh3_64 : compute_hash(layer, part);
}

std::uint64_t DumpReader::compute_hash(int layer, Part part) const {
  Checksum checksum;
  const StoredTensor* tensor = stored(layer, part);
  for (std::int64_t head = 0; head < (tensor ? tensor->shape[0] : 1); ++head) {
    checksum.add(read(layer, part, head, 1).bytes);
  }
  return checksum.value();
}

std::vector<std::int32_t> DumpReader::input_ids() const {
  return state_->ids ? read_input_ids(state_->file, *state_->ids) : std::vector<std::int32_t>();
}

std::string first_non_finite(const Tensor& tensor, std::string_view name, std::int64_t first_head) {
  if (!has_non_finite(tensor.dtype, tensor.bytes)) return "";
  const auto values = tensor.to_float();
  const auto bad = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
  const std::int64_t at = bad - values.begin(), columns = tensor.shape[2], rows = tensor.shape[1];
  return fmt::format("{}[head {}, token {}, {}] is {}", name, first_head + at / columns / rows,
                     at / columns % rows, at % columns, std::isnan(*bad) ? "NaN" : "infinite");
}

std::string first_non_finite(const KvGroup& group) {
  std::string found = first_non_finite(group.q, "q", group.first_q_head);
  if (found.empty()) found = first_non_finite(group.k, "k", group.kv_head);
  if (found.empty()) found = first_non_finite(group.v, "v", group.kv_head);
  return found.empty() ? found : fmt::format("layer {}, {}", group.layer, found);
}

}  // namespace anchor
