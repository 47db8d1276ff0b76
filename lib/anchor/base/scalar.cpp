#include "anchor/base/scalar.hpp"

#include "anchor/base/number.hpp"

namespace anchor {

std::string scalar_text(const Scalar& value) {
  const double* number = std::get_if<double>(&value);
  return number ? format_number(*number) : std::get<std::string>(value);
}

}  // namespace anchor
