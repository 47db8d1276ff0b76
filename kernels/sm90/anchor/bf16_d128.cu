#include "sm90/anchor/identify.cuh"

namespace anchor::kernels::sm90 {
template void anchor_plan<Element::bf16, 128>(const AnchorParams&, void*, CUstream_st*);
template void anchor_forward<Element::bf16, 128>(const AnchorParams&, const SparseFwdParams&, void*,
                                                 CUstream_st*);
}  // namespace anchor::kernels::sm90
