#pragma once

#include <cmath>
#include <cstdint>

namespace anchor {

/// Random numbers without state: value i of a stream is a function of the stream's key and i, so any thread
/// may ask for any value. Only integer arithmetic and exactly rounded float operations: every machine gets
/// the same bits.
class CounterRandom {
 public:
  explicit CounterRandom(std::uint64_t key) : key_(mix(key)) {}
  /// An independent stream.
  CounterRandom stream(std::uint64_t id) const { return CounterRandom(key_ ^ mix(id + 1)); }

  /// 64 uniform bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over a Weyl sequence.
  std::uint64_t bits(std::uint64_t i) const { return mix(key_ + i * 0x9e3779b97f4a7c15u); }

  /// Close to standard normal: the sum of eight uniform 16-bit numbers, scaled. Mean 0, variance 1, |x|
  /// < 4.9, excess kurtosis -0.15. (Box-Muller would need a logarithm, whose last bit depends on the C
  /// library.)
  float normal(std::uint64_t i) const {
    const int sum = lanes(bits(2 * i)) + lanes(bits(2 * i + 1));
    return static_cast<float>(sum - 4 * 65535) * (1.0f / 53509.92f);  // sqrt(8 (2^32 - 1) / 12)
  }

 private:
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  static int lanes(std::uint64_t x) {
    return static_cast<int>((x & 0xffff) + (x >> 16 & 0xffff) + (x >> 32 & 0xffff) + (x >> 48));
  }
  std::uint64_t key_;
};

}  // namespace anchor
