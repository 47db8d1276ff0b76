#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace anchor {

/// How much planted keys stand out: a score in natural-log units above the background or, where that is 0,
/// the share of the mass that they hold together against the background alone, at the end of the text.
struct Weight {
  double strength = 0;
  double share = 0.9;
};

/// What a synthetic head attends to.
struct PlantedHead {
  std::string text;  ///< as written
  struct Sink {
    std::int64_t tokens = 0;  ///< the first so many keys; 0 = no sink
    Weight weight;
  } sink;
  struct Local {
    std::int64_t width = 0;  ///< keys less than this far back, the nearest ones most; 0 = not local
    Weight weight;
  } local;
  struct Planted {
    std::int64_t count = 0;        ///< how many; 0 = none
    std::vector<std::int64_t> at;  ///< given columns or distances instead of random ones
    Weight weight;
  } stripes, slash;
  double spread = 0;  ///< every column has its own importance exp(spread * normal)
};

/// Patterns and how many heads follow each.
struct PatternMix {
  std::vector<PlantedHead> patterns;
  std::vector<double> weights;

  /// The pattern of head number `index`, counted over all layers: at every head, the pattern that is furthest
  /// behind its share. Equal weights take turns.
  const PlantedHead& of(std::int64_t index) const;
};

/// Reads `HEAD,HEAD,…` with HEAD = `ATOM+ATOM+…[*TIMES]`, or a named mixture; see pattern_help. Usage
/// errors.
PatternMix parse_pattern(std::string_view text);

/// The grammar with examples, for people.
extern const char* const pattern_help;

}  // namespace anchor
