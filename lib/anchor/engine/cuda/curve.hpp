#pragma once

#include "anchor/engine/cuda/arena.hpp"
#include "anchor/engine/cuda/inputs.hpp"
#include "anchor/kernels/curve.hpp"
#include "anchor/mass/curve.hpp"

namespace anchor {

/// A head's curve sorted and summed on the device; only what is asked for comes to the host. Its memory is
/// the arena's: a scope of the caller ends its life.
class CudaCurve final : public HeadCurve {
 public:
  CudaCurve(const kernels::CurveItems& items, const kernels::CurveScale& scale, DeviceArena& arena,
            const kernels::Stream& stream);

  std::size_t size() const override { return static_cast<std::size_t>(scale_.count) + 1; }
  std::optional<CurvePoint> least(double target_recall) const override;
  CurvePoint densest() const override;
  CurvePoint at(double knob) const override;
  Curve thinned(double tolerance) const override;
  Curve binned() const override;
  Curve full() const override;

 private:
  kernels::CurveSums take_sums(std::size_t count) const;
  std::int64_t find(kernels::CurveLookup lookup) const;
  CurvePoint point(std::uint32_t key, std::int64_t pairs, std::int64_t mass) const;
  CurvePoint first_point() const;
  CurvePoint point_at(std::int64_t entry) const;
  Curve pick(const kernels::CurveChoice& choice) const;

  DeviceArena& arena_;
  const kernels::Stream& stream_;
  kernels::CurveScale scale_;
  bool descending_;
  kernels::CurveSums sums_;
};

}  // namespace anchor
