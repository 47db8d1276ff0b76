#pragma once

#include "anchor/kernels/params.hpp"

struct CUstream_st;

// What the architecture folders define and dispatch.cpp lists. The template arguments are the instantiations.
namespace anchor::kernels {

using SparseFwd = void (*)(const SparseFwdParams& params, void* workspace, CUstream_st* stream);

namespace sm90 {
template <Element element, int head_dim>
void sparse_fwd(const SparseFwdParams& params, void* workspace, CUstream_st* stream);
}  // namespace sm90

namespace sm80 {
template <Element element, int head_dim>
void sparse_fwd(const SparseFwdParams& params, void* workspace, CUstream_st* stream);
}  // namespace sm80

}  // namespace anchor::kernels
