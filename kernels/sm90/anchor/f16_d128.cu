#include "sm90/anchor/planner.cuh"

namespace anchor::kernels::sm90 {
template void anchor_plan<Element::f16, 128>(const AnchorParams&, void*, CUstream_st*);
template void stripes_plan<Element::f16, 128>(const StripesParams&, void*, CUstream_st*);
template void anchor_forward<Element::f16, 128>(const AnchorParams&, const SparseFwdParams&, void*,
                                                CUstream_st*);
template void stripes_forward<Element::f16, 128>(const StripesParams&, const SparseFwdParams&, void*,
                                                 CUstream_st*);
}  // namespace anchor::kernels::sm90
