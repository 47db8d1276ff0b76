#include "anchor/engine/cuda/arena.hpp"

#include <algorithm>

namespace anchor {
namespace {
constexpr std::size_t alignment = 256, smallest_chunk = std::size_t{64} << 20;
}

void* DeviceArena::take_bytes(std::size_t bytes) {
  bytes = (bytes + alignment - 1) / alignment * alignment;
  while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_].bytes()) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) chunks_.emplace_back(std::max(bytes, smallest_chunk));
  char* place = chunks_[chunk_].data<char>() + used_;
  used_ += bytes;
  return place;
}

void DeviceArena::release(std::size_t chunk, std::size_t used) {
  chunk_ = chunk;
  used_ = used;
  if (chunk_ > 0 || used_ > 0 || chunks_.size() < 2) return;
  std::size_t all = 0;  // one large chunk serves the next group better than several small ones
  for (const kernels::DeviceBuffer& one : chunks_) all += one.bytes();
  chunks_.clear();
  try {
    chunks_.emplace_back(all);
  } catch (const kernels::CudaError&) {  // it is only kept for speed, and this runs in a destructor
    chunks_.clear();
  }
}

}  // namespace anchor
