#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace anchor {

/// What a caption says about an oracle's curve: what it keeps whatever its knob, and what it bounds. Empty
/// for methods that are not oracles.
std::string oracle_note(std::string_view method);

/// The notes of all oracles among the methods, each once.
std::vector<std::string> oracle_notes(const std::vector<std::string>& methods);

}  // namespace anchor
