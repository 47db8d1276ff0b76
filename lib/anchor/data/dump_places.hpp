#pragma once

#include <map>

#include "anchor/data/dump_writer.hpp"
#include "anchor/data/hdf5/image.hpp"

// The file behind a plan, and where in it the values lie that are written after the metadata.
namespace anchor {

/// The objects of the file, in which nothing is complete yet.
std::vector<h5::NewObject> objects_of(const DumpPlan& plan);

/// XXH3 of all that decides the bits, to tell whether two plans are the same request.
std::uint64_t request_hash(const DumpPlan& plan);

/// Offsets of a layer's values. Flags are one byte, checksums eight.
struct LayerPlaces {
  struct Tensor {
    std::int64_t data = 0, checksum = 0;
  };
  std::map<Part, Tensor> tensors;
  std::int64_t complete = 0;
  bool is_complete = false;
};

struct DumpPlaces {
  std::map<int, LayerPlaces> layers;
  std::int64_t complete = 0;
};

/// Finds the values of a plan in its file. Fails, naming the difference, where the file was made for another
/// plan or not by this writer.
DumpPlaces find_places(const h5::File& file, const DumpPlan& plan);

/// Fails, naming the difference, unless a dump was made with this plan; `layers` are those of the file.
void require_same_request(const std::string& name, const DumpPlan& plan, const DumpHeader& there,
                          const std::vector<LayerInfo>& layers, const std::vector<std::int32_t>& input_ids);

}  // namespace anchor
