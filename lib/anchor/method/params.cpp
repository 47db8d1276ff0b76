#include "anchor/method/params.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

double Params::real(std::string_view name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) fail_usage("no parameter {}", name);
  return std::get<double>(it->second);
}

std::int64_t Params::integer(std::string_view name) const { return static_cast<std::int64_t>(real(name)); }

bool Params::is_word(std::string_view name) const {
  const auto it = values_.find(name);
  return it != values_.end() && std::holds_alternative<std::string>(it->second);
}

const std::string& Params::choice(std::string_view name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) fail_usage("no parameter {}", name);
  return std::get<std::string>(it->second);
}

}  // namespace anchor
