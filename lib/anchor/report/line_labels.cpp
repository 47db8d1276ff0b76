#include "anchor/report/line_labels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "anchor/report/color_map.hpp"

namespace anchor {
namespace {

constexpr std::size_t colors = 8;  // of series_color()

}  // namespace

std::vector<double> spread_labels(const std::vector<double>& wanted, double gap, double top, double bottom) {
  std::vector<std::size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return wanted[a] < wanted[b]; });
  struct Pool {
    double sum, count;
    double mean() const { return sum / count; }
  };
  std::vector<Pool> pools;  // of heights less the room that the names above need
  for (std::size_t n = 0; n < order.size(); ++n) {
    pools.push_back({wanted[order[n]] - gap * static_cast<double>(n), 1});
    while (pools.size() > 1 && pools[pools.size() - 2].mean() > pools.back().mean()) {
      const Pool last = pools.back();
      pools.pop_back();
      pools.back() = {pools.back().sum + last.sum, pools.back().count + last.count};
    }
  }
  std::vector<double> placed(wanted.size());
  const double lowest = bottom - gap * static_cast<double>(std::ssize(wanted) - 1);
  std::size_t n = 0;
  for (const Pool& pool : pools) {
    for (double in_pool = 0; in_pool < pool.count; ++in_pool, ++n)
      placed[order[n]] = std::max(top, std::min(pool.mean(), lowest)) + gap * static_cast<double>(n);
  }
  return placed;
}

std::string line_dashes(std::size_t n) {
  constexpr std::array dashes{"", ";stroke-dasharray:7 3", ";stroke-dasharray:2 3",
                              ";stroke-dasharray:9 3 2 3"};
  return dashes[n / colors % dashes.size()];
}

std::string line_style(std::size_t n) { return "stroke:" + series_color(n) + line_dashes(n); }

std::string mark_path(std::size_t n, double x, double y) {
  switch ((n + n / colors) % 4) {
    case 0:
      return fmt::format("M{:.1f} {:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", x - 3.5, y);
    case 1:
      return fmt::format("M{:.1f} {:.1f}h6.4v6.4h-6.4z", x - 3.2, y - 3.2);
    case 2:
      return fmt::format("M{:.1f} {:.1f}l4.5 7.6h-9z", x, y - 4.6);
    default:
      return fmt::format("M{:.1f} {:.1f}l4.3 4.3l-4.3 4.3l-4.3 -4.3z", x, y - 4.3);
  }
}

}  // namespace anchor
