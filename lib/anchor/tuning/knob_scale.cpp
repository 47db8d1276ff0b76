#include "anchor/tuning/knob_scale.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"

namespace anchor {

KnobScale::KnobScale(const Method& method, const Geometry& geometry) : method_(method) {
  if (method.knob.empty()) fail_usage("method {} has no knob to search", method.name);
  const auto spec = std::find_if(method.params.begin(), method.params.end(),
                                 [&](const ParamSpec& s) { return s.name == method.knob; });
  constexpr double unbounded = 64;
  whole_ = spec->kind == ParamSpec::Kind::integer;
  logarithmic_ = whole_ || (spec->minimum == 0 && std::isinf(spec->maximum));
  low_ = whole_ ? std::max(spec->minimum, 1.) : logarithmic_ ? 1e-6 : std::max(spec->minimum, -unbounded);
  high_ = whole_ ? std::min(spec->maximum, static_cast<double>(geometry.kv_len))
                 : std::min(spec->maximum, unbounded);
}

double KnobScale::knob(double place) const {
  if (method_.knob_descends) place = 1 - place;
  const double value = logarithmic_ ? low_ * std::pow(high_ / low_, place) : low_ + (high_ - low_) * place;
  return whole_ ? std::clamp(std::round(value), low_, high_) : value;
}

double KnobScale::place(double knob) const {
  const double value = std::clamp(knob, low_, high_);
  const double place =
      logarithmic_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
  return method_.knob_descends ? 1 - place : place;
}

Params KnobScale::params_at(const Params& params, double place) const {
  Params made = params;
  made.set(method_.knob, knob(place));
  if (!method_.second_budget.empty()) {
    const double proportion = params.real(method_.second_budget) / params.real(method_.knob);
    made.set(method_.second_budget, std::max(1., std::round(knob(place) * proportion)));
  }
  return made;
}

}  // namespace anchor
