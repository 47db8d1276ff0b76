#include "anchor/engine/cuda/curve.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/base/ordered_float.hpp"

namespace anchor {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The knob x as the nearest float that selects no entry which x itself does not: critical values are floats,
/// an entry is selected where its value is at most x (at least x on descending curves), and rounding x must
/// not carry it past a value. So x is rounded down (up on descending curves).
float round_back(double x, bool descending) {
  const auto rounded = static_cast<float>(x);
  constexpr float end = std::numeric_limits<float>::infinity();
  if (!descending && static_cast<double>(rounded) > x) return std::nextafter(rounded, -end);
  if (descending && static_cast<double>(rounded) < x) return std::nextafter(rounded, end);
  return rounded;
}

}  // namespace

CudaCurve::CudaCurve(const kernels::CurveItems& items, const kernels::CurveScale& scale, DeviceArena& arena,
                     const kernels::Stream& stream)
    : arena_(arena),
      stream_(stream),
      scale_(scale),
      descending_(items.descending),
      sums_(take_sums(static_cast<std::size_t>(items.count))) {
  if (items.count > std::numeric_limits<std::int32_t>::max())
    fail("a curve of {} entries: a device sorts at most 2^31; use larger groups or blocks, or --device cpu",
         items.count);
  const DeviceArena::Scope scope(arena);
  kernels::sort_curve(items, sums_, arena.take<char>(kernels::sort_workspace_bytes(items.count)), stream);
}

kernels::CurveSums CudaCurve::take_sums(std::size_t count) const {
  return {arena_.take<std::uint32_t>(count), arena_.take<std::int64_t>(count),
          arena_.take<std::int64_t>(count)};
}

std::int64_t CudaCurve::find(kernels::CurveLookup lookup) const {
  const DeviceArena::Scope scope(arena_);
  auto* const on_device = arena_.take<kernels::CurveLookup>(1);
  kernels::upload(on_device, &lookup, sizeof lookup, stream_);
  kernels::look_up(sums_, scale_, on_device, 1, stream_);
  kernels::download(&lookup, on_device, sizeof lookup, stream_);
  return lookup.found;
}

CurvePoint CudaCurve::point(std::uint32_t key, std::int64_t pairs, std::int64_t mass) const {
  const double unit = std::ldexp(1., -kernels::mass_bits);
  const double recall = (scale_.forced_mass + static_cast<double>(mass) * unit) / scale_.query_rows;
  return {static_cast<double>(from_ordered_bits(descending_ ? ~key : key)),
          (scale_.forced_pairs + static_cast<double>(pairs)) / scale_.causal_pairs,
          std::clamp(recall, 0., 1.)};  // masses are rounded sums
}

CurvePoint CudaCurve::first_point() const {
  CurvePoint first = point(0, 0, 0);
  first.knob = descending_ ? infinity : -infinity;
  return first;
}

CurvePoint CudaCurve::point_at(std::int64_t entry) const {
  if (entry < 0) return first_point();
  std::uint32_t key = 0;
  std::int64_t pairs = 0, mass = 0;
  kernels::download(&key, sums_.key + entry, sizeof key, stream_);
  kernels::download(&pairs, sums_.pairs + entry, sizeof pairs, stream_);
  kernels::download(&mass, sums_.mass + entry, sizeof mass, stream_);
  return point(key, pairs, mass);
}

std::optional<CurvePoint> CudaCurve::least(double target_recall) const {
  const std::int64_t found = find({.recall = target_recall});
  return found == scale_.count ? std::nullopt : std::optional(point_at(found));
}

CurvePoint CudaCurve::densest() const { return point_at(scale_.count - 1); }

CurvePoint CudaCurve::at(double knob) const {
  const std::uint32_t bits = ordered_bits(round_back(knob, descending_));
  return point_at(find({.recall = std::nan(""), .key = descending_ ? ~bits : bits}));
}

Curve CudaCurve::thinned(double tolerance) const {
  return pick({.pick = kernels::CurvePick::cells, .tolerance = tolerance});
}

Curve CudaCurve::binned() const {
  return pick({.pick = kernels::CurvePick::bins, .dropped_bits = bin_dropped_bits});
}

Curve CudaCurve::full() const { return pick({}); }

Curve CudaCurve::pick(const kernels::CurveChoice& choice) const {
  Curve curve{.descending = descending_};
  curve.push(first_point());
  if (scale_.count == 0) return curve;
  const DeviceArena::Scope scope(arena_);
  auto* const chosen = arena_.take<std::int32_t>(static_cast<std::size_t>(scale_.count));
  auto* const chosen_count = arena_.take<std::int32_t>(1);
  kernels::choose_points(sums_, scale_, choice, chosen, chosen_count,
                         arena_.take<char>(kernels::choose_workspace_bytes(scale_.count)), stream_);
  std::int32_t count = 0;
  kernels::download(&count, chosen_count, sizeof count, stream_);
  const auto size = static_cast<std::size_t>(count);
  const kernels::CurveSums picked = take_sums(size);
  kernels::gather_points(sums_, chosen, count, picked, stream_);
  std::vector<std::uint32_t> key(size);
  std::vector<std::int64_t> pairs(size), mass(size);
  kernels::download(key.data(), picked.key, size * sizeof key[0], stream_);
  kernels::download(pairs.data(), picked.pairs, size * sizeof pairs[0], stream_);
  kernels::download(mass.data(), picked.mass, size * sizeof mass[0], stream_);
  for (std::size_t n = 0; n < size; ++n) curve.push(point(key[n], pairs[n], mass[n]));
  return curve;
}

}  // namespace anchor
