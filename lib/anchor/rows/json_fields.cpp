#include "anchor/rows/json_fields.hpp"

#include <fmt/format.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {
namespace {

std::string said(NumberRange range) {
  if (std::isinf(range.high)) return fmt::format("it must be at least {}", format_number(range.low));
  if (std::isinf(range.low)) return fmt::format("it must be at most {}", format_number(range.high));
  return fmt::format("it must lie in [{}, {}]", format_number(range.low), format_number(range.high));
}

}  // namespace

JsonFields::JsonFields(const Json& object, std::string where, std::string prefix)
    : object_(&object), where_(std::move(where)), prefix_(std::move(prefix)) {
  if (!object.is_object()) wrong("", "is not an object");
}

void JsonFields::wrong(const std::string& name, const std::string& what) const {
  std::string field = prefix_ + name;
  if (field.ends_with('.')) field.pop_back();
  fail("{}: field \"{}\" {}", where_, field.empty() ? "(row)" : field, what);
}

const Json* JsonFields::find(const char* name) {
  known_.insert(name);
  const auto it = object_->find(name);
  return it == object_->end() ? nullptr : &*it;
}

const Json& JsonFields::need(const char* name) {
  const Json* found = find(name);
  if (found == nullptr) wrong(name, "is missing");
  return *found;
}

void JsonFields::text(const char* name, std::string& value) {
  if (const Json* found = find(name)) value = text_of(*found, name);
}

void JsonFields::number(const char* name, std::optional<double>& value, NumberRange range) {
  if (const Json* found = find(name)) value = number_of(*found, name, range);
}

void JsonFields::integer(const char* name, std::optional<int>& value, NumberRange range) {
  if (const Json* found = find(name)) value = static_cast<int>(integer_of(*found, name, range));
}

void JsonFields::numbers(const char* name, std::vector<double>& values, NumberRange range) {
  const Json* found = find(name);
  if (found == nullptr) return;
  for (const Json& one : list_of(*found, name)) values.push_back(number_of(one, name, range));
}

void JsonFields::scalars(const char* name, ScalarMap& map) {
  const Json* found = find(name);
  if (found == nullptr) return;
  for (const auto& [key, value] : object_of(*found, name).items())
    map.insert_or_assign(key, scalar_of(value, name));
}

void JsonFields::texts(const char* name, std::vector<std::string>& values) {
  const Json* found = find(name);
  if (found == nullptr) return;
  for (const Json& one : list_of(*found, name)) values.push_back(text_of(one, name));
}

std::string JsonFields::need_text(const char* name) { return text_of(need(name), name); }
double JsonFields::need_number(const char* name, NumberRange range) {
  return number_of(need(name), name, range);
}
std::int64_t JsonFields::need_integer(const char* name, NumberRange range) {
  return integer_of(need(name), name, range);
}
std::vector<double> JsonFields::need_numbers(const char* name, NumberRange range) {
  need(name);
  std::vector<double> values;
  numbers(name, values, range);
  return values;
}

std::optional<JsonFields> JsonFields::object(const char* name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  return JsonFields(*found, where_, prefix_ + name + ".");
}

std::vector<JsonFields> JsonFields::need_objects(const char* name) {
  std::vector<JsonFields> objects;
  for (const Json& one : list_of(need(name), name))
    objects.emplace_back(one, where_, fmt::format("{}{}[{}].", prefix_, name, objects.size()));
  return objects;
}

std::int64_t JsonFields::integer_of(const Json& value, const std::string& name, NumberRange range) const {
  const bool whole =
      value.is_number_integer() &&
      !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max());
  if (!whole) wrong(name, "is not a whole number");
  number_of(value, name, range);
  return value.get<std::int64_t>();
}

double JsonFields::number_of(const Json& value, const std::string& name, NumberRange range) const {
  if (value == "nan") return std::nan("");
  const auto number = number_from_json(value);
  if (!number) wrong(name, "is not a number");
  if (*number < range.low || *number > range.high)
    wrong(name, fmt::format("is {}; {}", format_number(*number), said(range)));
  return *number;
}

std::string JsonFields::text_of(const Json& value, const std::string& name) const {
  if (!value.is_string()) wrong(name, "is not a text");
  return value.get<std::string>();
}

Scalar JsonFields::scalar_of(const Json& value, const std::string& name) const {
  if (value.is_string() || value.is_number()) return scalar_from_json(value);
  wrong(name, "holds neither numbers nor texts");
}

const Json& JsonFields::list_of(const Json& value, const std::string& name) const {
  if (!value.is_array()) wrong(name, "is not a list");
  return value;
}

const Json& JsonFields::object_of(const Json& value, const std::string& name) const {
  if (!value.is_object()) wrong(name, "is not an object");
  return value;
}

}  // namespace anchor
