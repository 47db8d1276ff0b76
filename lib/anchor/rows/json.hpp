#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace anchor {

using Json = nlohmann::ordered_json;

/// The text of JSON; `indent` < 0: on one line. Bytes that are not UTF-8, as file names may hold, are
/// replaced.
std::string json_text(const Json& json, int indent = -1);

/// How deep lists and objects may nest in JSON that is read.
constexpr int deepest_json = 64;

/// The JSON of a text that others wrote; nothing if it is not JSON, or nests deeper than deepest_json. All
/// JSON is parsed here, and read through JsonFields.
std::optional<Json> parse_json(std::string_view text);

}  // namespace anchor
