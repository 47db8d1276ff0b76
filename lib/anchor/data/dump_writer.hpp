#pragma once

#include <memory>
#include <span>

#include "anchor/data/qkv_dump.hpp"

namespace anchor {

/// Writes a dump layer by layer. It grows as PATH.part and gets its name in finish(); a writer that dies
/// before leaves a readable PATH.part with every layer that was ended, which Mode::resume continues.
///
///     DumpWriter writer(path, header, ids);
///     for (layer...) {
///       if (writer.has_layer(info)) continue;   // a resumed file has it already
///       writer.begin_layer(info);
///       writer.append(Part::q, head_rows);       // whole heads, in order; the same for k and v, in any
///       interleaving writer.end_layer();
///     }
///     writer.finish();
class DumpWriter {
 public:
  enum class Mode { create, resume };

  /// `resume` continues PATH.part, whose root attributes and token ids must equal the given ones (created_utc
  /// apart); where there is none it starts one, unless PATH itself is there: then every layer is, and nothing
  /// is written.
  DumpWriter(std::string path, DumpHeader header, std::span<const std::int32_t> input_ids = {},
             Mode mode = Mode::create);
  ~DumpWriter();
  DumpWriter(const DumpWriter&) = delete;
  DumpWriter& operator=(const DumpWriter&) = delete;

  /// True if a resumed file holds this layer complete. One of another shape or type there is an error.
  bool has_layer(const LayerInfo& info) const;

  void begin_layer(const LayerInfo& info);
  /// Adds whole heads, in the stored element type, after those already there.
  void append(Part part, std::span<const std::byte> heads);
  /// The same from floats, rounded to nearest even.
  void append(Part part, std::span<const float> heads);
  /// Adds a KV group's heads to q, k and v.
  void append(const KvGroup& group);
  void end_layer();

  /// Marks the dump complete and gives it its name.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace anchor
