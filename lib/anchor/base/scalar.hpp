#pragma once

#include <map>
#include <string>
#include <variant>

namespace anchor {

/// A parameter, environment entry or other leaf of a result row: a number or a word.
using Scalar = std::variant<double, std::string>;
using ScalarMap = std::map<std::string, Scalar, std::less<>>;

/// The value as the command line writes it.
std::string scalar_text(const Scalar& value);

}  // namespace anchor
