#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "anchor/base/counter_random.hpp"

namespace anchor {

/// Draws one after the other from a counter-based stream: equal keys give equal draws on every machine.
class TaskRandom {
 public:
  explicit TaskRandom(std::uint64_t key) : stream_(key) {}

  /// A whole number in [0, count). Its bias is below 2^-32 for counts below 2^32.
  std::int64_t below(std::int64_t count) {
    return static_cast<std::int64_t>(stream_.bits(next_++) % static_cast<std::uint64_t>(count));
  }
  /// In [0, 1).
  double unit() { return static_cast<double>(stream_.bits(next_++) >> 11) * 0x1p-53; }

  template <class Item>
  const Item& pick(const std::vector<Item>& items) {
    return items[static_cast<std::size_t>(below(static_cast<std::int64_t>(items.size())))];
  }
  template <class Item>
  void shuffle(std::vector<Item>& items) {
    for (std::size_t i = items.size(); i > 1; --i)
      std::swap(items[i - 1], items[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
  }

  /// Decimal digits, the first of them not 0.
  std::string digits(int count) {
    std::string text(1, static_cast<char>('1' + below(9)));
    while (static_cast<int>(text.size()) < count) text += static_cast<char>('0' + below(10));
    return text;
  }
  /// Capital letters.
  std::string capitals(int count) {
    std::string text;
    while (static_cast<int>(text.size()) < count) text += static_cast<char>('A' + below(26));
    return text;
  }

 private:
  CounterRandom stream_;
  std::uint64_t next_ = 0;
};

}  // namespace anchor
