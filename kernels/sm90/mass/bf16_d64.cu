#include "sm90/mass/mass.cuh"
#include "sm90/mass/row_stats.cuh"

namespace anchor::kernels::sm90 {
template void row_stats<Element::bf16, 64>(const RowStatsParams&, cudaStream_t);
template void attention_mass<Element::bf16, 64>(const MassParams&, void*, cudaStream_t);
}  // namespace anchor::kernels::sm90
