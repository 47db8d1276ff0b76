#pragma once

#include <cstddef>

#include "anchor/kernels/params.hpp"

struct CUstream_st;

// What mean correction adds to sparse_fwd: after it, the keys before a tile that the tile does not list join
// in the output, each as the mean key and value of its block of kv_tile keys. lse stays that of the listed
// keys.
namespace anchor::kernels {

const char* mean_correction_unsupported(const SparseFwdParams& params);
std::size_t mean_correction_workspace(const SparseFwdParams& params);
/// `params.lse` is needed here.
void run_mean_correction(const SparseFwdParams& params, void* workspace, CUstream_st* stream);

}  // namespace anchor::kernels
