#include "anchor/data/dump_reader.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <mutex>

#include "anchor/base/error.hpp"
#include "anchor/data/checksum.hpp"

namespace anchor {
namespace {

// Fills `bytes` from a byte range of a file.
void read_range(int descriptor, std::int64_t offset, std::span<std::byte> bytes, const std::string& where) {
  while (!bytes.empty()) {
    const ssize_t got = pread(descriptor, bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("{}: cannot read: {}", where, std::strerror(errno));
    if (got == 0) fail("{}: the file ends before its data do", where);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

StoredTensor describe(const h5::Dataset& dataset, Part part, const LayerInfo& info) {
  StoredTensor stored{dtype_of(dataset),
                      shape_of(info, part),
                      dataset.layout_text(),
                      dataset.file_offset(),
                      dataset.unsigned_integer("xxh3_64"),
                      dataset.stored_bytes()};
  const std::size_t rank = rank_of(part);
  if (!std::equal(dataset.shape().begin(), dataset.shape().end(), stored.shape.begin(),
                  stored.shape.begin() + rank)) {
    fail("{}: shape [{}] must be [{}]", dataset.name(), fmt::join(dataset.shape(), ", "),
         fmt::join(stored.shape.begin(), stored.shape.begin() + rank, ", "));
  }
  return stored;
}

void require_replayable(const LayerInfo& info, const std::string& path) {
  const char* obstacle = nullptr;
  if (info.geometry.sliding_window != 0) obstacle = "has a sliding window";
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
    h5::Group group;
    std::map<Part, StoredTensor> stored;
  };
  std::string path;
  DumpHeader header;
  bool complete = false;
  std::vector<LayerInfo> infos;
  std::map<int, Layer> layers;
  std::vector<std::string> problems;
  std::optional<h5::File> file;
  int descriptor = -1;
  std::mutex mutex;  // HDF5 serves one thread at a time

  ~State() {
    if (descriptor >= 0) ::close(descriptor);
  }

  void open_layer(const h5::Group& group, const std::string& name) {
    const LayerInfo info = read_layer_info(group, name);
    Layer layer{file->group("layers/" + name), {}};
    for (const Part part : all_parts) {
      const std::string child(name_of(part));
      if (group.has(child)) layer.stored[part] = describe(group.dataset(child), part, info);
    }
    infos.push_back(info);
    layers.emplace(info.layer, std::move(layer));
  }

  const Layer& layer(int number) const {
    if (const auto found = layers.find(number); found != layers.end()) return found->second;
    std::vector<int> numbers;
    for (const auto& info : infos) numbers.push_back(info.layer);
    fail("{} has no layer {}; it has {}", path, number, fmt::join(numbers, ", "));
  }
};

DumpReader::DumpReader(std::string path, Strictness strictness) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = std::move(path);
  s.file = h5::File::open(s.path);
  s.header = read_header(*s.file);
  s.complete = s.file->integer("complete").value_or(0) != 0;
  if (!s.complete && strictness == Strictness::complete) {
    fail("{} is incomplete: its writer did not finish; --allow-incomplete takes the layers that are complete",
         s.path);
  }
  const bool inspect = strictness == Strictness::inspect;
  if (inspect && !s.complete) s.problems.push_back(s.path + ": incomplete: its writer did not finish");

  const h5::Group layers = s.file->group("layers");
  for (const std::string& name : layers.children()) {
    try {
      const h5::Group group = layers.group(name);
      if (group.integer("complete").value_or(0) == 0) {
        if (strictness == Strictness::allow_incomplete) continue;
        fail("{}: the layer is incomplete", group.name());
      }
      s.open_layer(group, name);
    } catch (const Error& error) {
      if (!inspect) throw;
      s.problems.push_back(error.what());
    }
  }
  std::sort(s.infos.begin(), s.infos.end(), [](const auto& a, const auto& b) { return a.layer < b.layer; });
  if (s.infos.empty() && !inspect) fail("{} has no complete layer", s.path);
  s.descriptor = ::open(s.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (s.descriptor < 0) fail("cannot open {}: {}", s.path, std::strerror(errno));
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
      read_range(state_->descriptor, *stored.offset + (first + i) * stored.shape[1] * row_bytes,
                 std::span(tensor.bytes).subspan(static_cast<std::size_t>(i) * piece, piece), where);
    }
  } else {
    const std::lock_guard lock(state_->mutex);
    const std::size_t rank = rank_of(part);
    const std::array<std::int64_t, 3> start{first, 0, 0};
    owner.group.dataset(std::string(name_of(part)))
        .read(std::span(start).first(rank), std::span(tensor.shape).first(rank), tensor.bytes);
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
  const std::lock_guard lock(state_->mutex);
  return read_input_ids(*state_->file);
}

namespace {

/// True if an element has all bits of `exponent` set: NaN or infinity.
template <class Word>
bool has_non_finite(const HostBytes& bytes, Word exponent) {
  unsigned found = 0;
  for (std::size_t n = 0; n < bytes.size(); n += sizeof(Word)) {  // no early exit: this vectorises
    Word word;
    std::memcpy(&word, bytes.data() + n, sizeof word);
    found |= (word & exponent) == exponent;
  }
  return found != 0;
}

bool has_non_finite(const Tensor& tensor) {
  switch (tensor.dtype) {
    case DType::bf16:
      return has_non_finite<std::uint16_t>(tensor.bytes, 0x7f80);
    case DType::f16:
      return has_non_finite<std::uint16_t>(tensor.bytes, 0x7c00);
    case DType::f32:
      break;
  }
  return has_non_finite<std::uint32_t>(tensor.bytes, 0x7f800000);
}

}  // namespace

std::string first_non_finite(const Tensor& tensor, std::string_view name, std::int64_t first_head) {
  if (!has_non_finite(tensor)) return "";
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
