#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "anchor/kernels/curve.hpp"
#include "check.hpp"

// Critical values to sorted keys with inclusive sums: one radix sort of (key, entry), two scans that fetch
// what they add through the sorted entries.
namespace anchor::kernels {
namespace {

constexpr int threads = 256;

/// Monotone map of floats to integers, as in lib/anchor/base/ordered_float.hpp.
__device__ std::uint32_t ordered_bits(float value) {
  const std::uint32_t bits = __float_as_uint(value + 0.f);  // -0 becomes +0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__global__ void keys_kernel(CurveItems items, std::uint32_t* keys, std::uint32_t* entries) {
  const std::int64_t n = blockIdx.x * std::int64_t{threads} + threadIdx.x;
  if (n >= items.count) return;
  const std::uint32_t key = ordered_bits(items.knob[n]);
  keys[n] = items.descending ? ~key : key;
  entries[n] = static_cast<std::uint32_t>(n);
}

struct PairsOf {
  const std::uint32_t* entries;
  const std::int32_t* pairs;
  __device__ std::int64_t operator()(std::int64_t n) const { return pairs[entries[n]]; }
};
struct MassOf {
  const std::uint32_t* entries;
  const float* mass;
  __device__ std::int64_t operator()(std::int64_t n) const {
    return __double2ll_rn(static_cast<double>(mass[entries[n]]) * (std::int64_t{1} << mass_bits));
  }
};

/// Where things lie in the workspace. `storage` is CUB's.
struct SortLayout {
  SortLayout(std::int64_t count, void* workspace) {
    auto* base = static_cast<char*>(workspace);
    const auto take = [&](std::size_t size) {
      char* place = base + bytes;
      bytes += (size + 255) / 256 * 256;
      return place;
    };
    const std::size_t column = static_cast<std::size_t>(count) * 4;
    for (auto& part : keys) part = reinterpret_cast<std::uint32_t*>(take(column));
    for (auto& part : entries) part = reinterpret_cast<std::uint32_t*>(take(column));
    cub::DoubleBuffer<std::uint32_t> key_buffer(keys[0], keys[1]), entry_buffer(entries[0], entries[1]);
    std::size_t sort = 0, scan = 0;
    cub::DeviceRadixSort::SortPairs(nullptr, sort, key_buffer, entry_buffer, count);
    cub::DeviceScan::InclusiveSum(
        nullptr, scan, thrust::make_transform_iterator(thrust::counting_iterator<std::int64_t>(0), MassOf{}),
        static_cast<std::int64_t*>(nullptr), count);
    storage_bytes = sort > scan ? sort : scan;
    storage = take(storage_bytes);
  }
  std::size_t bytes = 0, storage_bytes = 0;
  std::uint32_t *keys[2], *entries[2];
  void* storage;
};

}  // namespace

std::size_t sort_workspace_bytes(std::int64_t count) { return SortLayout(count, nullptr).bytes; }

void sort_curve(const CurveItems& items, const CurveSums& sums, void* workspace, const Stream& stream) {
  if (items.count == 0) return;
  if (items.count > INT32_MAX) throw CudaError("curve: more than 2^31 plan entries in one head", false);
  SortLayout layout(items.count, workspace);
  const auto blocks = static_cast<unsigned>((items.count + threads - 1) / threads);
  keys_kernel<<<blocks, threads, 0, stream.handle()>>>(items, layout.keys[0], layout.entries[0]);
  check_launch("keys_kernel");
  cub::DoubleBuffer<std::uint32_t> keys(layout.keys[0], layout.keys[1]),
      entries(layout.entries[0], layout.entries[1]);
  check(cub::DeviceRadixSort::SortPairs(layout.storage, layout.storage_bytes, keys, entries, items.count, 0,
                                        32, stream.handle()),
        "DeviceRadixSort::SortPairs");
  check(cudaMemcpyAsync(sums.key, keys.Current(), static_cast<std::size_t>(items.count) * 4,
                        cudaMemcpyDeviceToDevice, stream.handle()),
        "cudaMemcpyAsync");
  const thrust::counting_iterator<std::int64_t> order(0);
  const auto scan = [&](auto value, std::int64_t* out) {
    check(cub::DeviceScan::InclusiveSum(layout.storage, layout.storage_bytes,
                                        thrust::make_transform_iterator(order, value), out, items.count,
                                        stream.handle()),
          "DeviceScan::InclusiveSum");
  };
  scan(PairsOf{entries.Current(), items.pairs}, sums.pairs);
  scan(MassOf{entries.Current(), items.mass}, sums.mass);
}

}  // namespace anchor::kernels
