#include "sm90/xattention/cells.cuh"

template void anchor::kernels::sm90::xattention_cells<anchor::kernels::Element::bf16>(const Tensors&,
                                                                                      const XAttentionCells&,
                                                                                      int, CUstream_st*);
