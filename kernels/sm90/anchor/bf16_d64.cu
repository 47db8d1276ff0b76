#include "sm90/anchor/planner.cuh"

namespace anchor::kernels::sm90 {
template void anchor_plan<Element::bf16, 64>(const AnchorParams&, void*, CUstream_st*);
template void stripes_plan<Element::bf16, 64>(const StripesParams&, void*, CUstream_st*);
template void anchor_forward<Element::bf16, 64>(const AnchorParams&, const SparseFwdParams&, void*,
                                                CUstream_st*);
template void stripes_forward<Element::bf16, 64>(const StripesParams&, const SparseFwdParams&, void*,
                                                 CUstream_st*);
}  // namespace anchor::kernels::sm90
