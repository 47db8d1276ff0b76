#include "sm80/anchor/identify.cuh"

template void anchor::kernels::sm80::anchor_plan<anchor::kernels::Element::bf16, 256>(const AnchorParams&,
                                                                                      void*, cudaStream_t);
