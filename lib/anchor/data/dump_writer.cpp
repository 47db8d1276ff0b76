#include "anchor/data/dump_writer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/part_file.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/data/dump_places.hpp"
#include "anchor/data/dump_reader.hpp"
#include "anchor/data/layer_rules.hpp"
#include "anchor/data/non_finite.hpp"

namespace anchor {
namespace {

// A tensor of the layer being written.
struct Column {
  std::int64_t heads = 0;  // written so far
  Checksum checksum;
};

void require_plan(const std::string& path, const DumpPlan& plan) {
  std::set<int> numbers;
  for (const LayerInfo& info : plan.layers) {
    require_valid(info, fmt::format("cannot write {}: layer {}", path, info.layer));
    if (info.has_sink_logits)
      fail("cannot write {}: layer {} has attention sinks, which this writer does not store", path,
           info.layer);
    if (!numbers.insert(info.layer).second)
      fail("cannot write {}: layer {} is there twice", path, info.layer);
  }
}

// Fails on NaN and infinity among stored elements. `values` are what they were rounded from, or nothing where
// that is not known; an element that overflowed is then told from one that was infinite before.
void require_finite(const LayerInfo& info, Part part, std::int64_t first_head,
                    std::span<const std::byte> stored, std::span<const float> values) {
  const DType dtype = dtype_of(info, part);
  if (part == Part::ref_lse || !has_non_finite(dtype, stored)) return;  // a row may see no key: lse is -inf
  const auto shape = shape_of(info, part);
  const std::int64_t head_size = shape[1] * shape[2];
  std::vector<float> back(stored.size() / size_of(dtype));
  to_float(dtype, stored.data(), back);
  const auto bad = std::find_if(back.begin(), back.end(), [](float x) { return !std::isfinite(x); });
  const std::int64_t at = bad - back.begin();
  const std::string where =
      fmt::format("layer {}, {}[head {}, token {}, {}]", info.layer, name_of(part),
                  first_head + at / head_size, at % head_size / shape[2], at % shape[2]);
  const float value = values.empty() ? *bad : values[static_cast<std::size_t>(at)];
  if (std::isfinite(value))
    fail("{} is {:.6g}, which overflows {}; write {}f32", where, value, name_of(dtype),
         dtype == DType::f16 ? "bf16 or " : "");
  const char* what = std::isnan(value) ? "NaN" : "infinite";
  if (values.empty() && dtype == DType::f16 && std::isinf(value))
    fail("{} is infinite: f16 ends at 65504; write bf16 or f32", where);
  fail("{} is {}: the numbers are broken before they are written", where, what);
}

}  // namespace

struct DumpWriter::State {
  std::string path;
  DumpPlan plan;
  std::optional<PartFile> file;  // nothing if PATH is complete already
  DumpPlaces places;
  const LayerInfo* info = nullptr;  // the layer being written
  std::map<Part, Column> columns;

  // Runs a step of writing. What was ended before stays as it is, whatever happens.
  template <class Step>
  void attempt(Step step) {
    try {
      step();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      if (!file || !has_any_layer()) {
        if (file) file->discard();
        fail("cannot write {}: {}", path, error.what());
      }
      fail("cannot write {}: {}; {} keeps the finished layers for --resume", path, error.what(),
           file->part_path());
    }
  }

  void begin() {
    file->clear();
    attempt([&] {
      h5::write_image(objects_of(plan), file->descriptor());
      places = find_places(h5::File(file->descriptor(), file->part_path()), plan);
    });
  }

  void resume() {
    const std::string part = PartFile::part_of(path), target = PartFile::target_of(path);
    if (!std::filesystem::exists(part) && std::filesystem::exists(target)) {
      const DumpReader reader(target);
      require_same_request(target, plan, reader.header(), reader.layers(), reader.input_ids());
      return;
    }
    file.emplace(path, plan.inputs);
    if (h5::is_unbegun(file->descriptor())) return begin();
    places = find_places(h5::File(file->descriptor(), file->part_path()), plan);
  }

  // Adds whole heads to a tensor of the layer being written. `values`: as for require_finite().
  void append(Part part, std::span<const std::byte> heads, std::span<const float> values) {
    if (info == nullptr) fail("no layer was begun");
    const auto found = columns.find(part);
    if (found == columns.end()) fail("layer {}: {} was not planned", info->layer, name_of(part));
    Column& column = found->second;
    const auto shape = shape_of(*info, part);
    const auto bytes = static_cast<std::int64_t>(heads.size());
    const std::int64_t head_bytes =
        shape[1] * shape[2] * static_cast<std::int64_t>(size_of(dtype_of(*info, part)));
    const std::int64_t count = bytes / head_bytes;
    if (count * head_bytes != bytes || column.heads + count > shape[0]) {
      fail("layer {}, {}: {} bytes are not whole heads of this layer", info->layer, name_of(part), bytes);
    }
    require_finite(*info, part, column.heads, heads, values);
    const std::int64_t data = places.layers.at(info->layer).tensors.at(part).data;
    h5::write_range(file->descriptor(), data + column.heads * head_bytes, heads);
    column.checksum.add(heads);
    column.heads += count;
  }

  bool has_any_layer() const {
    return std::any_of(places.layers.begin(), places.layers.end(),
                       [](const auto& entry) { return entry.second.is_complete; });
  }

  const LayerInfo& planned(int layer) const {
    const auto found = std::find_if(plan.layers.begin(), plan.layers.end(),
                                    [&](const LayerInfo& other) { return other.layer == layer; });
    if (found == plan.layers.end()) fail("cannot write {}: layer {} was not planned", path, layer);
    return *found;
  }
};

DumpWriter::DumpWriter(std::string path, DumpPlan plan, Mode mode) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = std::move(path);
  s.plan = std::move(plan);
  require_plan(s.path, s.plan);
  if (mode == Mode::resume) {
    s.resume();
  } else {
    s.file.emplace(s.path, s.plan.inputs);
    s.begin();
  }
}

DumpWriter::~DumpWriter() = default;

bool DumpWriter::done() const { return !state_->file; }

bool DumpWriter::has_layer(int layer) const {
  state_->planned(layer);
  return done() || state_->places.layers.at(layer).is_complete;
}

void DumpWriter::begin_layer(int layer) {
  State& s = *state_;
  if (has_layer(layer)) fail("{}: layer {} is complete; leave out --resume to write it anew", s.path, layer);
  s.info = &s.planned(layer);
  s.columns.clear();
  for (const Part part : parts_of(*s.info)) s.columns.try_emplace(part);
}

void DumpWriter::append(Part part, std::span<const std::byte> heads) {
  state_->attempt([&] { state_->append(part, heads, {}); });
}

void DumpWriter::append(Part part, std::span<const float> heads) {
  State& s = *state_;
  if (s.info == nullptr) fail("cannot write {}: no layer was begun", s.path);
  const DType dtype = dtype_of(*s.info, part);
  std::vector<std::byte> bytes(heads.size() * size_of(dtype));
  from_float(dtype, heads, bytes.data());
  s.attempt([&] { s.append(part, bytes, heads); });
}

void DumpWriter::append(const KvGroup& group) {
  append(Part::q, group.q.bytes);
  append(Part::k, group.k.bytes);
  append(Part::v, group.v.bytes);
}

void DumpWriter::end_layer() {
  State& s = *state_;
  s.attempt([&] {
    if (s.info == nullptr) fail("no layer was begun");
    LayerPlaces& places = s.places.layers.at(s.info->layer);
    const int descriptor = s.file->descriptor();
    for (auto& [part, column] : s.columns) {
      const std::int64_t heads = shape_of(*s.info, part)[0];
      if (column.heads != heads)
        fail("layer {}: {} has {} of {} heads", s.info->layer, name_of(part), column.heads, heads);
      const std::uint64_t checksum = column.checksum.value();
      h5::write_range(descriptor, places.tensors.at(part).checksum, std::as_bytes(std::span(&checksum, 1)));
    }
    h5::sync(descriptor);  // the layer's bytes are there before it says so
    h5::write_range(descriptor, places.complete, std::array{std::byte{1}});
    places.is_complete = true;
  });
  s.columns.clear();
  s.info = nullptr;
}

void DumpWriter::finish() {
  State& s = *state_;
  if (done()) return;
  s.attempt([&] {
    for (const LayerInfo& info : s.plan.layers) {
      if (!has_layer(info.layer)) fail("layer {} was not written", info.layer);
    }
    h5::sync(s.file->descriptor());
    h5::write_range(s.file->descriptor(), s.places.complete, std::array{std::byte{1}});
  });
  s.file->publish();
}

}  // namespace anchor
