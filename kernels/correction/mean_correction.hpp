#pragma once

#include <cstddef>

#include "anchor/kernels/params.hpp"

struct CUstream_st;

// What mean correction adds to sparse_fwd: after it, every block before a tile that the tile does not list
// joins in the output as kv_tile copies of its mean key and value. lse stays that of the listed keys.
namespace anchor::kernels {

const char* mean_correction_unsupported(const SparseFwdParams& params);
std::size_t mean_correction_workspace(const SparseFwdParams& params);
void run_mean_correction(const SparseFwdParams& params, void* workspace, CUstream_st* stream);

}  // namespace anchor::kernels
