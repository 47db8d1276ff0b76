#include <thrust/iterator/counting_iterator.h>

#include <cub/device/device_select.cuh>

#include "anchor/kernels/curve.hpp"
#include "check.hpp"

// Reading a sorted curve: single points by binary search, and the few of its points that are worth keeping.
namespace anchor::kernels {
namespace {

struct Reader {
  CurveSums sums;
  CurveScale scale;

  __device__ double density(std::int64_t n) const {
    return (scale.forced_pairs + static_cast<double>(n < 0 ? 0 : sums.pairs[n])) / scale.causal_pairs;
  }
  __device__ double recall(std::int64_t n) const {
    const double mass = n < 0 ? 0 : static_cast<double>(sums.mass[n]) / (std::int64_t{1} << mass_bits);
    return (scale.forced_mass + mass) / scale.query_rows;
  }
  /// The first entry for which `after` holds; it must hold for all later ones too.
  template <class After>
  __device__ std::int64_t first(After after) const {
    std::int64_t low = 0, high = scale.count;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (after(middle))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }
  /// The last entry with a key of at most `key`.
  __device__ std::int64_t last_of(std::uint32_t key) const {
    return first([&](std::int64_t n) { return sums.key[n] > key; }) - 1;
  }
};

__global__ void look_up_kernel(Reader curve, CurveLookup* lookups, int count) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= count) return;
  CurveLookup& one = lookups[at];
  if (isnan(one.recall)) {
    one.found = curve.last_of(one.key);
  } else if (curve.recall(-1) >= one.recall) {
    one.found = -1;
  } else {
    const std::int64_t reached = curve.first([&](std::int64_t n) { return curve.recall(n) >= one.recall; });
    one.found = reached == curve.scale.count ? reached : curve.last_of(curve.sums.key[reached]);
  }
}

struct Wanted {
  Reader curve;
  CurveChoice choice;

  __device__ bool operator()(std::int32_t n) const {
    const std::uint32_t* const key = curve.sums.key;
    const bool last = n + 1 == curve.scale.count;
    if (!last && key[n + 1] == key[n]) return false;  // ties enter together
    if (last || choice.pick == CurvePick::all) return true;
    if (choice.pick == CurvePick::bins)
      return key[n] >> choice.dropped_bits != key[n + 1] >> choice.dropped_bits;
    const std::int64_t before = curve.first([&](std::int64_t m) { return key[m] >= key[n]; }) - 1;
    const auto cell = [&](double value) { return floor(value / choice.tolerance); };
    return cell(curve.density(n)) != cell(curve.density(before)) ||
           cell(curve.recall(n)) != cell(curve.recall(before));
  }
};

__global__ void gather_kernel(CurveSums sums, const std::int32_t* chosen, std::int32_t count,
                              CurveSums picked) {
  const std::int32_t at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const std::int32_t n = chosen[at];
  picked.key[at] = sums.key[n];
  picked.pairs[at] = sums.pairs[n];
  picked.mass[at] = sums.mass[n];
}

constexpr int threads = 256;

}  // namespace

void look_up(const CurveSums& sums, const CurveScale& scale, CurveLookup* lookups, int count,
             const Stream& stream) {
  if (count == 0) return;
  look_up_kernel<<<(count + threads - 1) / threads, threads, 0, stream.handle()>>>({sums, scale}, lookups,
                                                                                   count);
  check_launch("look_up_kernel");
}

std::size_t choose_workspace_bytes(std::int64_t count) {
  std::size_t bytes = 0;
  cub::DeviceSelect::If(nullptr, bytes, thrust::counting_iterator<std::int32_t>(0),
                        static_cast<std::int32_t*>(nullptr), static_cast<std::int32_t*>(nullptr), count,
                        Wanted{});
  return bytes;
}

void choose_points(const CurveSums& sums, const CurveScale& scale, const CurveChoice& choice,
                   std::int32_t* chosen, std::int32_t* chosen_count, void* workspace, const Stream& stream) {
  std::size_t bytes = choose_workspace_bytes(scale.count);
  check(cub::DeviceSelect::If(workspace, bytes, thrust::counting_iterator<std::int32_t>(0), chosen,
                              chosen_count, scale.count, Wanted{{sums, scale}, choice}, stream.handle()),
        "DeviceSelect::If");
}

void gather_points(const CurveSums& sums, const std::int32_t* chosen, std::int32_t count,
                   const CurveSums& picked, const Stream& stream) {
  if (count == 0) return;
  gather_kernel<<<(count + threads - 1) / threads, threads, 0, stream.handle()>>>(sums, chosen, count,
                                                                                  picked);
  check_launch("gather_kernel");
}

}  // namespace anchor::kernels
