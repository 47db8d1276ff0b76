#include "anchor/base/lists.hpp"

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

namespace anchor {
namespace {

constexpr double max_items = 1e6;

double number(std::string_view text, std::string_view item, std::string_view what) {
  const auto value = parse_number(text);
  if (!value)
    fail_usage("{}: \"{}\" is not a number, a list (8k,32k) or a range (0-29, 8k-128k*2, 4:16:0.5)", what,
               item);
  return *value;
}

/// Position of the dash of a range `a-b`: one between two digits (or after a unit), so that signs and
/// exponents
/// (-3, 1e-4) stay numbers.
std::size_t range_dash(std::string_view item) {
  for (std::size_t i = 1; i + 1 < item.size(); ++i) {
    const char before = item[i - 1], after = item[i + 1];
    const bool ends = (before >= '0' && before <= '9') || before == 'k' || before == 'M';
    if (item[i] == '-' && ends && after >= '0' && after <= '9') return i;
  }
  return std::string_view::npos;
}

void append_linear(double first, double last, double step, std::string_view item, std::string_view what,
                   std::vector<double>& values) {
  if (!std::isfinite(first) || !std::isfinite(last))
    fail_usage("{}: the ends of range \"{}\" must be finite", what, item);
  if (!(step > 0) || !std::isfinite(step))
    fail_usage("{}: the step of range \"{}\" must be positive", what, item);
  if (last < first) fail_usage("{}: range \"{}\" runs backwards", what, item);
  const double steps = std::floor((last - first) / step + 1e-9);  // 4:16:0.1 includes 16 in spite of rounding
  if (steps >= max_items) fail_usage("{}: range \"{}\" has more than a million values", what, item);
  for (double n = 0; n <= steps; ++n) values.push_back(first + n * step);
}

void append_item(std::string_view item, std::string_view what, std::vector<double>& values) {
  if (const auto colon = item.find(':'); colon != std::string_view::npos) {
    const auto second = item.find(':', colon + 1);
    const double first = number(item.substr(0, colon), item, what);
    const double last = number(item.substr(colon + 1, second - colon - 1), item, what);
    const double step = second == std::string_view::npos ? 1 : number(item.substr(second + 1), item, what);
    append_linear(first, last, step, item, what, values);
    return;
  }
  const auto dash = range_dash(item);
  if (dash == std::string_view::npos) {
    values.push_back(number(item, item, what));
    return;
  }
  const auto star = item.find('*', dash);
  const double first = number(item.substr(0, dash), item, what);
  const double last = number(item.substr(dash + 1, star - dash - 1), item, what);
  if (star == std::string_view::npos) {
    append_linear(first, last, 1, item, what, values);
    return;
  }
  const double factor = number(item.substr(star + 1), item, what);
  // A start so small that it has no room for all digits may not grow when it is multiplied.
  if (!(factor > 1) || !(first > 0) || !std::isnormal(first))
    fail_usage("{}: range \"{}\" needs a start above 0 and a factor above 1", what, item);
  if (last < first) fail_usage("{}: range \"{}\" runs backwards", what, item);
  if (!std::isfinite(last) || !std::isfinite(factor))
    fail_usage("{}: the numbers of range \"{}\" must be finite", what, item);
  const double steps = std::log(last / first) / std::log(factor);
  if (!(steps < max_items)) fail_usage("{}: range \"{}\" has more than a million values", what, item);
  for (double value = first; value / last <= 1 + 1e-12; value *= factor) values.push_back(value);
}

}  // namespace

std::vector<std::string> split_list(std::string_view text, std::string_view what) {
  std::vector<std::string> items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = text.substr(begin, end - begin);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    if (item.empty()) fail_usage("{}: empty item in \"{}\"", what, text);
    items.emplace_back(item);
    begin = end + 1;
  }
  return items;
}

std::vector<double> parse_list(std::string_view text, std::string_view what) {
  std::vector<double> values;
  for (const std::string& item : split_list(text, what)) {
    append_item(item, what, values);
    if (static_cast<double>(values.size()) > max_items)
      fail_usage("{}: \"{}\" has more than a million values", what, text);
  }
  return values;
}

std::vector<std::int64_t> parse_integers(std::string_view text, std::string_view what, std::int64_t minimum,
                                         std::int64_t maximum) {
  std::vector<std::int64_t> values;
  for (const double value : parse_list(text, what)) {
    if (value != std::floor(value)) fail_usage("{}: {} is not a whole number", what, format_number(value));
    if (value < static_cast<double>(minimum) || value > static_cast<double>(maximum)) {
      fail_usage("{}: {} is outside {}..{}", what, format_number(value), minimum, maximum);
    }
    values.push_back(static_cast<std::int64_t>(value));
  }
  return values;
}

}  // namespace anchor
