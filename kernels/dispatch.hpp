#pragma once

#include "anchor/kernels/mass.hpp"
#include "anchor/kernels/params.hpp"

struct CUstream_st;

// What the architecture folders define and dispatch.cpp lists. The template arguments are the instantiations.
namespace anchor::kernels {

using SparseFwd = void (*)(const SparseFwdParams& params, void* workspace, CUstream_st* stream);
using AnchorPlan = void (*)(const AnchorParams& params, void* workspace, CUstream_st* stream);
using AnchorForward = void (*)(const AnchorParams& params, const SparseFwdParams& attention, void* workspace,
                               CUstream_st* stream);
using StripesPlan = void (*)(const StripesParams& params, void* workspace, CUstream_st* stream);
using StripesForward = void (*)(const StripesParams& params, const SparseFwdParams& attention,
                                void* workspace, CUstream_st* stream);
using RowStats = void (*)(const RowStatsParams& params, CUstream_st* stream);
using AttentionMass = void (*)(const MassParams& params, void* workspace, CUstream_st* stream);

/// Does Path::automatic mean the Hopper kernels on the current device?
bool takes_sm90();

namespace sm90 {
template <Element element, int head_dim>
void sparse_fwd(const SparseFwdParams& params, void* workspace, CUstream_st* stream);
template <Element element, int head_dim>
void row_stats(const RowStatsParams& params, CUstream_st* stream);
template <Element element, int head_dim>
void attention_mass(const MassParams& params, void* workspace, CUstream_st* stream);
template <Element element, int head_dim>
void anchor_plan(const AnchorParams& params, void* workspace, CUstream_st* stream);
template <Element element, int head_dim>
void anchor_forward(const AnchorParams& params, const SparseFwdParams& attention, void* workspace,
                    CUstream_st* stream);
template <Element element, int head_dim>
void stripes_plan(const StripesParams& params, void* workspace, CUstream_st* stream);
template <Element element, int head_dim>
void stripes_forward(const StripesParams& params, const SparseFwdParams& attention, void* workspace,
                     CUstream_st* stream);
}  // namespace sm90

namespace sm80 {
template <Element element, int head_dim>
void sparse_fwd(const SparseFwdParams& params, void* workspace, CUstream_st* stream);
template <Element element, int head_dim>
void row_stats(const RowStatsParams& params, CUstream_st* stream);
template <Element element, int head_dim>
void attention_mass(const MassParams& params, void* workspace, CUstream_st* stream);
template <Element element, int head_dim>
void anchor_plan(const AnchorParams& params, void* workspace, CUstream_st* stream);
}  // namespace sm80

}  // namespace anchor::kernels
