#pragma once

#include "anchor/kernels/planners.hpp"
#include "common/planners/grid.cuh"

struct CUstream_st;

// What the last query rows of every head attend to, per key and per distance (lib/anchor/method/probe.hpp).
namespace anchor::kernels {

/// Scratch of a probe, and its results for all heads.
struct Probe {
  Probe(const Tensors& inputs, int probe_rows, Carver& carver);

  int rows, together;   ///< probe rows; heads whose scores exist at once
  int spans;            ///< parts of the keys
  std::int64_t stride;  ///< of a row of scores
  float* scores;        ///< [together, rows, stride]
  float2* parts;        ///< [together, rows, spans]: maximum, and sum of exp(score - maximum)
  float* lse;           ///< [together, rows]
  float* columns;       ///< [q_heads, N]: mean share of key j
  float* diagonals;     ///< [q_heads, N]: entry t is the mean share at distance N - 1 - t
};

void run_probe(const Tensors& inputs, const Probe& probe, CUstream_st* stream);

}  // namespace anchor::kernels
