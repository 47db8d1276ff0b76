#include "sm80/mass/mass.cuh"
#include "sm80/mass/row_stats.cuh"

namespace anchor::kernels::sm80 {
template void row_stats<Element::f16, 64>(const RowStatsParams&, cudaStream_t);
template void attention_mass<Element::f16, 64>(const MassParams&, void*, cudaStream_t);
}  // namespace anchor::kernels::sm80
