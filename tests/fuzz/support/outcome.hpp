#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "anchor/base/error.hpp"

namespace anchor::test {

/// Runs a reader on an input that may be anything; false if it refused it with the one error that is
/// expected. Every other exception, signal or report of a sanitizer ends the program.
template <class Read>
bool accepted(Read read) {
  try {
    read();
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Ends the program, as a finding, unless a law holds.
inline void demand(bool holds, const char* law) {
  if (holds) return;
  std::fprintf(stderr, "broken law: %s\n", law);
  std::abort();
}

}  // namespace anchor::test
