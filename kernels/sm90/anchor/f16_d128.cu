#include "sm90/anchor/identify.cuh"

template void anchor::kernels::sm90::anchor_plan<anchor::kernels::Element::f16, 128>(const AnchorParams&,
                                                                                     void*, CUstream_st*);
