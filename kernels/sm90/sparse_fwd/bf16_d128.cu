#include "sm90/sparse_fwd/kernel.cuh"

template void anchor::kernels::sm90::sparse_fwd<anchor::kernels::Element::bf16, 128>(const SparseFwdParams&,
                                                                                     void*, CUstream_st*);
