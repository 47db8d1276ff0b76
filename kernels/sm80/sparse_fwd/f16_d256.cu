#include "sm80/sparse_fwd/kernel.cuh"

template void anchor::kernels::sm80::sparse_fwd<anchor::kernels::Element::f16, 256>(const SparseFwdParams&,
                                                                                    void*, cudaStream_t);
