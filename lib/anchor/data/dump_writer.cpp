#include "anchor/data/dump_writer.hpp"

#include <array>
#include <chrono>
#include <ctime>
#include <filesystem>

#include "anchor/base/error.hpp"
#include "anchor/data/checksum.hpp"

namespace anchor {
namespace {

h5::Element element_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return h5::Element::f32;
    case DType::f16:
      return h5::Element::f16;
    case DType::bf16:
      return h5::Element::bf16;
  }
  fail("unknown element type");
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

// A tensor of the layer being written.
struct Column {
  h5::Dataset dataset;
  DType dtype;
  std::array<std::int64_t, 3> shape;
  std::int64_t heads = 0;  // written so far
  Checksum checksum;
};

void require_same(const std::string& file, const std::string& what, const std::string& there,
                  const std::string& wanted) {
  if (there != wanted) {
    fail("{} cannot be resumed: it was made with {} {:?}, not {:?}; delete it or leave out --resume", file,
         what, there, wanted);
  }
}

}  // namespace

struct DumpWriter::State {
  std::string path, part_path;
  std::optional<h5::File> file;
  std::optional<h5::Group> layers, layer;
  LayerInfo info;
  std::map<Part, Column> columns;
  bool done = false;                 // the dump has its name already; `file` is read-only
  std::uintmax_t flushed_bytes = 0;  // 0 = nothing in the file is worth keeping

  // Runs a step of writing. After a failure the file goes back to where the last flush left it.
  template <class Step>
  void attempt(Step step) {
    try {
      step();
    } catch (const Error& error) {
      give_up();
      const bool kept = flushed_bytes > 0;
      fail("cannot write {}: {}{}", path, error.what(),
           kept ? fmt::format("; {} keeps the finished layers for --resume", part_path) : "");
    }
  }

  void flush() {
    file->flush();
    flushed_bytes = std::filesystem::file_size(part_path);
  }

  void give_up() {
    columns.clear();
    layer.reset();
    layers.reset();
    file->abandon();
    file.reset();
    std::error_code ignored;
    if (flushed_bytes > 0) {
      std::filesystem::resize_file(part_path, flushed_bytes, ignored);
    } else {
      std::filesystem::remove(part_path, ignored);
    }
  }

  void create(const DumpHeader& header, std::span<const std::int32_t> input_ids) {
    file = h5::File::create(part_path);
    attempt([&] {
      file->set("format", std::string("anchor-qkv"));
      file->set("format_version", std::string("1.0"));
      file->set("model", header.model);
      file->set("seq_len", header.seq_len);
      file->set("created_utc", utc_now());
      file->set("tool", header.tool);
      file->set("tool_version", header.tool_version);
      for (const auto& [name, value] : header.text) file->set(name.c_str(), value);
      if (header.seed) file->set("seed", *header.seed);
      if (!input_ids.empty()) {
        const std::int64_t start = 0, count = static_cast<std::int64_t>(input_ids.size());
        file->create_dataset("input_ids", h5::Element::i32, {count})
            .write({&start, 1}, {&count, 1}, std::as_bytes(input_ids));
      }
      layers = file->create_group("layers");
      flush();
    });
  }

  void resume(const DumpHeader& header, std::span<const std::int32_t> input_ids) {
    const bool part = std::filesystem::exists(part_path);
    if (!part && !std::filesystem::exists(path)) return create(header, input_ids);
    done = !part;
    const std::string& name = part ? part_path : path;
    file = h5::File::open(name, part);
    const DumpHeader there = read_header(*file);
    require_same(name, "model", there.model, header.model);
    require_same(name, "seq_len", std::to_string(there.seq_len), std::to_string(header.seq_len));
    require_same(name, "tool", there.tool + " " + there.tool_version,
                 header.tool + " " + header.tool_version);
    const auto seed_text = [](const DumpHeader& h) {
      return h.seed ? std::to_string(*h.seed) : std::string("none");
    };
    require_same(name, "seed", seed_text(there), seed_text(header));
    for (const auto& [key, value] : header.text) {
      const auto found = there.text.find(key);
      require_same(name, key, found == there.text.end() ? "" : found->second, value);
    }
    if (const auto ids = read_input_ids(*file);
        !std::equal(ids.begin(), ids.end(), input_ids.begin(), input_ids.end())) {
      fail("{} cannot be resumed: its text is another one; delete it or leave out --resume", name);
    }
    layers = file->group("layers");
    if (done) return;
    for (const std::string& child : layers->children()) {  // a layer that was cut short starts again
      if (layers->group(child).integer("complete").value_or(0) == 0) layers->remove(child);
    }
    flush();
  }
};

DumpWriter::DumpWriter(std::string path, DumpHeader header, std::span<const std::int32_t> input_ids,
                       Mode mode)
    : state_(std::make_unique<State>()) {
  state_->path = std::move(path);
  state_->part_path = state_->path + ".part";
  if (std::filesystem::is_directory(state_->path)) fail("cannot write {}: it is a folder", state_->path);
  if (mode == Mode::create) {
    state_->create(header, input_ids);
  } else {
    state_->resume(header, input_ids);
  }
}

DumpWriter::~DumpWriter() {
  if (!state_->file || state_->done) return;
  try {  // not finished: keep the layers that are complete
    state_->columns.clear();
    if (state_->layer) {
      state_->layer.reset();
      state_->layers->remove(layer_name(state_->info.layer));
    }
    state_->layers.reset();
    state_->file->close();
  } catch (const Error&) {
    state_->give_up();
  }
}

bool DumpWriter::has_layer(const LayerInfo& info) const {
  const std::string name = layer_name(info.layer);
  if (!state_->layers->has(name)) return false;
  const LayerInfo there = read_layer_info(state_->layers->group(name), name);
  if (there.geometry != info.geometry || there.dtype != info.dtype ||
      there.rope_applied != info.rope_applied) {
    fail("{} cannot be resumed: another shape or type; delete it or leave out --resume",
         state_->layers->group(name).name());
  }
  return true;
}

void DumpWriter::begin_layer(const LayerInfo& info) {
  State& s = *state_;
  if (s.done)
    fail("{} is complete without layer {}; leave out --resume to write it anew", s.path, info.layer);
  s.attempt([&] {
    s.info = info;
    s.layer = s.layers->create_group(layer_name(info.layer));
    s.layer->set("layer", std::int64_t{info.layer});
    s.layer->set("softmax_scale", info.geometry.softmax_scale);
    s.layer->set("causal", static_cast<std::uint8_t>(info.geometry.causal));
    s.layer->set("q_start", info.geometry.q_start);
    s.layer->set("sliding_window", info.geometry.sliding_window);
    s.layer->set("rope_applied", static_cast<std::uint8_t>(info.rope_applied));
    for (const auto& [name, value] : info.text) s.layer->set(name.c_str(), value);
  });
}

void DumpWriter::append(Part part, std::span<const std::byte> heads) {
  State& s = *state_;
  s.attempt([&] {
    if (!s.columns.contains(part)) {
      const auto shape = shape_of(s.info, part);
      const DType dtype = dtype_of(s.info, part);
      const std::vector<std::int64_t> stored(shape.begin(), shape.begin() + rank_of(part));
      if (part >= Part::ref_out && !s.layer->has("ref")) s.layer->create_group("ref");
      s.columns.emplace(part,
                        Column{s.layer->create_dataset(std::string(name_of(part)), element_of(dtype), stored),
                               dtype,
                               shape,
                               0,
                               {}});
    }
    Column& column = s.columns.at(part);
    const std::int64_t head_bytes =
        column.shape[1] * column.shape[2] * static_cast<std::int64_t>(size_of(column.dtype));
    const std::int64_t count = static_cast<std::int64_t>(heads.size()) / head_bytes;
    if (count * head_bytes != static_cast<std::int64_t>(heads.size()) ||
        column.heads + count > column.shape[0]) {
      fail("layer {}, {}: {} bytes are not whole heads of this layer", s.info.layer, name_of(part),
           heads.size());
    }
    const std::size_t rank = rank_of(part);
    const std::array<std::int64_t, 3> start{column.heads, 0, 0},
        extent{count, column.shape[1], column.shape[2]};
    column.dataset.write(std::span(start).first(rank), std::span(extent).first(rank), heads);
    column.checksum.add(heads);
    column.heads += count;
  });
}

void DumpWriter::append(Part part, std::span<const float> heads) {
  const DType dtype = dtype_of(state_->info, part);
  std::vector<std::byte> bytes(heads.size() * size_of(dtype));
  from_float(dtype, heads, bytes.data());
  append(part, bytes);
}

void DumpWriter::append(const KvGroup& group) {
  append(Part::q, group.q.bytes);
  append(Part::k, group.k.bytes);
  append(Part::v, group.v.bytes);
}

void DumpWriter::end_layer() {
  State& s = *state_;
  s.attempt([&] {
    for (const Part part : {Part::q, Part::k, Part::v}) {
      if (!s.columns.contains(part)) fail("layer {}: {} was not written", s.info.layer, name_of(part));
    }
    for (auto& [part, column] : s.columns) {
      if (column.heads != column.shape[0]) {
        fail("layer {}: {} has {} of {} heads", s.info.layer, name_of(part), column.heads, column.shape[0]);
      }
      column.dataset.set("xxh3_64", column.checksum.value());
    }
    s.columns.clear();
    s.layer->set("complete", std::uint8_t{1});
    s.layer.reset();
    s.flush();
  });
}

void DumpWriter::finish() {
  State& s = *state_;
  if (s.done) return;
  s.attempt([&] {
    s.layers.reset();
    s.file->set("complete", std::uint8_t{1});
    s.file->close();
  });
  s.file.reset();
  std::error_code failure;
  std::filesystem::rename(s.part_path, s.path, failure);
  if (failure) fail("cannot rename {} to {}: {}", s.part_path, s.path, failure.message());
}

}  // namespace anchor
