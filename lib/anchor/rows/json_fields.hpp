#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "anchor/base/scalar.hpp"
#include "anchor/rows/json.hpp"

namespace anchor {

/// Where a number must lie.
struct NumberRange {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
};

/// The fields of one JSON object that others wrote, read by name with their types and ranges. What is missing
/// or wrong is a data error: "WHERE: field "NAME" WHAT".
class JsonFields {
 public:
  /// `where`: the file, and the line if it has some. `prefix`: the object's own name in messages, such as
  /// "dump.".
  JsonFields(const Json& object, std::string where, std::string prefix = "");

  /// The field, or nullptr. Every field that was asked for is known.
  const Json* find(const char* name);
  const Json& need(const char* name);

  // A field that is missing leaves the value as it is.
  void text(const char* name, std::string& value);
  void number(const char* name, std::optional<double>& value, NumberRange range = {});
  void integer(const char* name, std::optional<int>& value, NumberRange range);
  void numbers(const char* name, std::vector<double>& values, NumberRange range = {});
  void scalars(const char* name, ScalarMap& map);
  void texts(const char* name, std::vector<std::string>& values);

  std::string need_text(const char* name);
  double need_number(const char* name, NumberRange range = {});
  std::int64_t need_integer(const char* name, NumberRange range);
  /// The numbers of a list, which must be there.
  std::vector<double> need_numbers(const char* name, NumberRange range = {});

  /// The object of that name, or nothing.
  std::optional<JsonFields> object(const char* name);
  /// The objects of a list, which must be there.
  std::vector<JsonFields> need_objects(const char* name);

  /// Fields that nobody asked for.
  template <class Use>
  void rest(Use use) const {
    for (const auto& [key, value] : object_->items())
      if (!known_.contains(key)) use(key, value);
  }

  [[noreturn]] void wrong(const std::string& name, const std::string& what) const;

  // One value, of that field.
  std::int64_t integer_of(const Json& value, const std::string& name, NumberRange range = {}) const;
  double number_of(const Json& value, const std::string& name, NumberRange range = {}) const;
  std::string text_of(const Json& value, const std::string& name) const;
  Scalar scalar_of(const Json& value, const std::string& name) const;
  const Json& list_of(const Json& value, const std::string& name) const;
  const Json& object_of(const Json& value, const std::string& name) const;

 private:
  const Json* object_;
  std::string where_, prefix_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace anchor
