#pragma once

#include <cstdint>

// Selection without sorting. A budget cuts the order "score descending, then index ascending" somewhere: a
// bisection over the bits of the score finds the score at the cut, and how many of the items that tie with it
// are in.
namespace anchor::kernels {

/// Threads that work on one list: a warp or a whole block.
template <int threads>
struct Team {
  static constexpr int size = threads;
  static __device__ int rank() { return threadIdx.x % threads; }
  template <class T>
  static __device__ T sum(T x, T* shared) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
    if constexpr (threads > 32) {
      __syncthreads();
      if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
      __syncthreads();
      x = 0;
      for (int w = 0; w < threads / 32; ++w) x += shared[w];
    }
    return x;
  }
};

/// Unsigned integers in the order of the floats. NaN of either sign lies outside all numbers.
__device__ __forceinline__ unsigned ordered(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits ^ (bits >> 31 ? ~0u : 0x80000000u);
}
__device__ __forceinline__ float from_ordered(unsigned key) {
  return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : ~0u));
}

/// Where the order is cut: items above `key` are in, and the first `ties` of those at it.
struct Cut {
  unsigned key = ~0u;
  std::int64_t ties = 0;
  std::int64_t above = 0;  ///< items above the key
};

enum class Budget {
  through,  ///< an item is in if the sum up to and with it is at most the budget
  before,   ///< ... if the sum before it is below the budget
  count,    ///< ... if its place, from 1, is at most the budget
};

/// Finds the cut. `at(n, value)` gives item n < items, and false for one that does not compete. Sums in
/// float64.
template <Budget rule, class Group, class At>
__device__ Cut find_cut(std::int64_t items, double budget, double* shared, const At& at) {
  unsigned key = 0;
  const auto fits = [&](double sum) { return rule == Budget::before ? sum < budget : sum <= budget; };
  for (int shift = 30; shift >= 0; shift -= 2) {
    const unsigned low = (1u << shift) - 1;
    const unsigned first = key | low, second = first + (1u << shift), third = second + (1u << shift);
    double sum[3] = {};
    for (std::int64_t n = Group::rank(); n < items; n += Group::size) {
      float value;
      if (!at(n, value)) continue;
      const unsigned place = ordered(value);
      const double weight = rule == Budget::count ? 1. : static_cast<double>(value);
      if (place > first) sum[0] += weight;
      if (place > second) sum[1] += weight;
      if (place > third) sum[2] += weight;
    }
    int digit = 3;  // the least digit above whose range the sum fits
    for (int d = 2; d >= 0; --d)
      if (fits(Group::sum(sum[d], shared))) digit = d;
    key |= static_cast<unsigned>(digit) << shift;
  }
  double above = 0, count = 0;
  for (std::int64_t n = Group::rank(); n < items; n += Group::size) {
    float value;
    if (!at(n, value) || ordered(value) <= key) continue;
    above += rule == Budget::count ? 1. : static_cast<double>(value);
    count += 1;
  }
  above = Group::sum(above, shared);
  Cut cut{key, 0, static_cast<std::int64_t>(Group::sum(count, shared))};
  if (!fits(above)) return cut;
  const double weight = rule == Budget::count ? 1. : static_cast<double>(from_ordered(key));
  const auto in = [&](std::int64_t ties) {  // is the last of so many ties in?
    return rule == Budget::before ? above + static_cast<double>(ties - 1) * weight < budget
                                  : above + static_cast<double>(ties) * weight <= budget;
  };
  if (!(weight > 0)) {
    cut.ties = INT64_MAX;
  } else {
    cut.ties = static_cast<std::int64_t>(fmin((budget - above) / weight, static_cast<double>(items)));
    while (cut.ties > 0 && !in(cut.ties)) --cut.ties;
    while (cut.ties < items && in(cut.ties + 1)) ++cut.ties;
  }
  return cut;
}

/// One bit per item: is it within the cut? A warp's lane l gives item 32 w + l of word w; `ties` counts the
/// ties of the words before, in order.
__device__ __forceinline__ std::uint32_t cut_word(const Cut& cut, bool competes, float value,
                                                  std::int64_t& ties) {
  const unsigned key = ordered(value);
  const unsigned tied = __ballot_sync(~0u, competes && key == cut.key);
  const unsigned before = __popc(tied & ((1u << threadIdx.x % 32) - 1));
  const bool in = competes && (key > cut.key || (key == cut.key && ties + before < cut.ties));
  ties += __popc(tied);
  return __ballot_sync(~0u, in);
}

/// A warp writes the bits of one list of items: those within the cut, and those that are kept anyway.
/// `at` as in find_cut, for any n; `always(n, competes)` for every n of the words.
template <class At, class Always>
__device__ __forceinline__ void write_cut(const Cut& cut, int words, const At& at, const Always& always,
                                          std::uint32_t* to) {
  const int lane = threadIdx.x % 32;
  std::int64_t ties = 0;
  for (int w = 0; w < words; ++w) {
    const int n = w * 32 + lane;
    float value = 0;
    const bool competes = at(n, value);
    const std::uint32_t word = cut_word(cut, competes, value, ties) | __ballot_sync(~0u, always(n, competes));
    if (lane == 0) to[w] = word;
  }
}

/// The item of the largest value in a warp, the first one of several: every lane brings its own and leaves
/// with the warp's.
__device__ __forceinline__ void warp_best(float& value, int& item) {
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(~0u, value, step);
    const int other_item = __shfl_xor_sync(~0u, item, step);
    if (other > value || (other == value && other_item < item)) value = other, item = other_item;
  }
}

/// cut_word by a block of `threads` over `words` words: put(word, bits) is called by one lane of each word's
/// warp. `counts` holds threads / 32 integers.
template <int threads, class At, class Put>
__device__ void cut_words(const Cut& cut, std::int64_t words, int* counts, const At& at, const Put& put) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  std::int64_t ties = 0;
  for (std::int64_t first = 0; first < words; first += threads / 32) {
    const std::int64_t word = first + warp;
    float value = 0;
    const bool competes = word < words && at(word, lane, value);
    const unsigned tied = __ballot_sync(~0u, competes && ordered(value) == cut.key);
    __syncthreads();
    if (lane == 0) counts[warp] = __popc(tied);
    __syncthreads();
    std::int64_t before = ties;
    for (int w = 0; w < threads / 32; ++w) {
      if (w < warp) before += counts[w];
      ties += counts[w];
    }
    const std::uint32_t bits = cut_word(cut, competes, value, before);
    if (word < words && lane == 0) put(word, bits);
  }
}

}  // namespace anchor::kernels
