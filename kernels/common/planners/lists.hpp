#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace anchor::kernels {

/// offsets[0 .. rows] from counts[0 .. rows] (the last of which counts nothing): exclusive prefix sums.
std::size_t scan_workspace(std::int64_t rows);
void scan_counts(const std::int32_t* counts, std::int64_t* offsets, std::int64_t rows, void* workspace,
                 CUstream_st* stream);

}  // namespace anchor::kernels
