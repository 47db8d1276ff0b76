#pragma once

#include <string>
#include <utility>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "support/temp_dump.hpp"

namespace anchor::test {

/// One of several dumps of one model, open for reading: layers 0, 1, ... of 2 KV heads and 4 query heads.
class SmallDump {
 public:
  explicit SmallDump(unsigned seed, int layers = 2, std::int64_t length = 200, int dim = 16,
                     std::vector<std::pair<int, int>> broken = {})
      : file_("anchor_small_dump_" + std::to_string(seed) + ".h5", {.layers = numbers(layers),
                                                                    .length = length,
                                                                    .head_dim = dim,
                                                                    .sharpness = 3,
                                                                    .seed = 100 * seed,
                                                                    .broken = std::move(broken)}),
        reader_(file_.path) {}

  const DumpReader& reader() const { return reader_; }
  const std::string& path() const { return file_.path; }

 private:
  static std::vector<int> numbers(int count) {
    std::vector<int> made;
    for (int n = 0; n < count; ++n) made.push_back(n);
    return made;
  }
  TempDump file_;
  DumpReader reader_;
};

}  // namespace anchor::test
