#pragma once

#include <memory>
#include <span>

#include "anchor/data/qkv_dump.hpp"

namespace anchor {

/// All that a dump will hold besides its tensors' bytes.
struct DumpPlan {
  DumpHeader header;
  std::vector<LayerInfo> layers;
  std::vector<std::int32_t> input_ids;
  std::vector<std::string> inputs;  ///< files that are read meanwhile: none of them may be the output
};

/// Writes a dump layer by layer. It grows as PATH.part and gets its name in finish(). All groups, attributes
/// and datasets are made and flushed first; from then on bytes are only filled in where they belong, and a
/// layer is marked complete when its own are on the disk. So a writer that dies at any write leaves every
/// layer that was ended, which readers take with --allow-incomplete and Mode::resume continues.
///
///     DumpWriter writer(path, plan);
///     for (const LayerInfo& info : plan.layers) {
///       if (writer.has_layer(info.layer)) continue;   // a resumed file has it already
///       writer.begin_layer(info.layer);
///       writer.append(Part::q, head_rows);   // whole heads, in order; the parts in any interleaving
///       writer.end_layer();
///     }
///     writer.finish();
class DumpWriter {
 public:
  enum class Mode { create, resume };

  /// `resume` continues PATH.part, whose plan must equal the given one (created_utc apart); nothing is
  /// changed before that is known. Where there is none, or one that no layer was ever written to, it starts
  /// one, unless PATH itself is there: then every layer is, and nothing is written.
  DumpWriter(std::string path, DumpPlan plan, Mode mode = Mode::create);
  /// Without finish() the file keeps its layers under PATH.part. After an error it is gone if it has none.
  ~DumpWriter();
  DumpWriter(const DumpWriter&) = delete;
  DumpWriter& operator=(const DumpWriter&) = delete;

  /// True if PATH was complete already (Mode::resume).
  bool done() const;
  /// True if a resumed file holds this layer complete.
  bool has_layer(int layer) const;

  void begin_layer(int layer);
  /// Adds whole heads, in the stored element type, after those already there. NaN and infinity are an error.
  void append(Part part, std::span<const std::byte> heads);
  /// The same from floats, rounded to nearest even. So is what the type cannot hold.
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
