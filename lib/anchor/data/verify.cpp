#include "anchor/data/verify.hpp"

#include <fmt/format.h>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/data/checksum.hpp"

namespace anchor {
namespace {

void verify_tensor(const DumpReader& reader, int layer, Part part, std::vector<std::string>& problems) {
  const StoredTensor& stored = *reader.stored(layer, part);
  Checksum checksum;
  std::string bad;
  for (std::int64_t head = 0; head < stored.shape[0]; ++head) {
    check_interrupt();
    const Tensor tensor = reader.read(layer, part, head, 1);
    checksum.add(tensor.bytes);
    if (bad.empty()) bad = first_non_finite(tensor, name_of(part), head);
  }
  const std::string where = fmt::format("{}: layer {}", reader.path(), layer);
  if (!bad.empty()) problems.push_back(fmt::format("{}, {}", where, bad));
  if (stored.xxh3_64 && *stored.xxh3_64 != checksum.value()) {
    problems.push_back(
        fmt::format("{}, {}: the bytes have the checksum {:016x}, not {:016x}: they have changed", where,
                    name_of(part), checksum.value(), *stored.xxh3_64));
  }
}

}  // namespace

std::vector<std::string> verify_dump(const DumpReader& reader, const TransferProgress& progress) {
  std::vector<std::string> problems = reader.problems();
  const std::int64_t seq_len = reader.header().seq_len;
  const auto ids = static_cast<std::int64_t>(reader.input_ids().size());
  if (ids != 0 && ids != seq_len) {
    problems.push_back(fmt::format("{}: {} input_ids, but seq_len is {}", reader.path(), ids, seq_len));
  }
  std::int64_t done = 0;
  const auto total = static_cast<std::int64_t>(reader.layers().size());
  for (const LayerInfo& info : reader.layers()) {
    if (info.geometry.kv_len != seq_len) {
      problems.push_back(fmt::format("{}: layer {} has {} keys, but seq_len is {}", reader.path(), info.layer,
                                     info.geometry.kv_len, seq_len));
    }
    for (const Part part : all_parts) {
      if (!reader.stored(info.layer, part)) continue;
      progress(done, total, fmt::format("layer {}, {}", info.layer, name_of(part)));
      try {
        verify_tensor(reader, info.layer, part, problems);
      } catch (const Error& error) {  // a damaged chunk, say: the other tensors are still to be judged
        if (error.kind() != ErrorKind::data) throw;
        problems.push_back(error.what());
      }
    }
    ++done;
  }
  if (reader.layers().empty() && problems.empty()) problems.push_back(reader.path() + ": no complete layer");
  return problems;
}

}  // namespace anchor
