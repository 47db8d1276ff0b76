#pragma once

#include <functional>
#include <optional>
#include <string>

#include "anchor/data/dump_reader.hpp"
#include "anchor/data/dump_writer.hpp"

namespace anchor {

/// Called before each tensor: `done` of `total` tensors are through, the next one is called `name`.
using TransferProgress = std::function<void(std::int64_t done, std::int64_t total, const std::string& name)>;

/// Writes all tensors of a dump as safetensors: layers.000.q, .k, .v, .ref.out, .ref.lse, input_ids; the
/// attributes become strings of __metadata__ (model, layers.000.softmax_scale, …). Nothing is converted.
void export_dump(const DumpReader& reader, const std::string& path, const TransferProgress& progress);

/// What a file without our metadata does not say.
struct ImportOptions {
  std::optional<double> softmax_scale;
  std::optional<std::string> model;
  std::string tool, tool_version;
};

/// What a safetensors file with those names says of the dump that it would become: everything but the
/// tensors' values is checked.
DumpPlan read_import(const std::string& source, const ImportOptions& options);

/// Makes a dump from safetensors with those names (layer numbers of any width). Other tensors are an error.
void import_dump(const std::string& source, const std::string& path, const ImportOptions& options,
                 const TransferProgress& progress);

}  // namespace anchor
