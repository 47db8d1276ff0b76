#pragma once

#include "anchor/kernels/device.hpp"
#include "anchor/kernels/params.hpp"

// The launches. All are asynchronous on `stream` of the current device and take no memory of their own.
namespace anchor::kernels {

/// Which build of a kernel runs. `automatic` takes the fastest one that the current device supports.
enum class Path : std::uint8_t { automatic, sm80, sm90 };

/// What `automatic` stands for in this process from now on; `automatic` itself = the fastest again. The tests
/// run everything that is built on these launches through the portable kernels with it.
void set_automatic_path(Path path);

/// "cuda-sm80" or "cuda-sm90" for what `automatic` means on a device of this compute capability; nullptr if
/// none runs.
const char* path_name(Path path, const DeviceInfo& device);

/// Why a launch is not possible on this device, or nullptr if it is: element type, head dimension, alignment,
/// plan.
const char* unsupported(const SparseFwdParams& params, const DeviceInfo& device, Path path = Path::automatic);

/// Bytes of scratch that sparse_fwd needs (16-byte aligned); depends on shapes only.
std::size_t workspace_bytes(const SparseFwdParams& params);

/// Attention under a plan. Throws CudaError if unsupported() or if the launch is refused.
void sparse_fwd(const SparseFwdParams& params, void* workspace, const Stream& stream,
                Path path = Path::automatic);

/// Plan rows per head, and blocks of all heads, that the planner writes.
std::int64_t plan_groups(const ListPlannerParams& params);
std::int64_t block_count(const AnchorParams& params);
std::int64_t block_count(const StripesParams& params);
/// The attention plan over the lists that `params` names.
PlanParams plan_over(const ListPlannerParams& params);

const char* unsupported(const AnchorParams& params, const DeviceInfo& device, Path path = Path::automatic);
const char* unsupported(const StripesParams& params, const DeviceInfo& device, Path path = Path::automatic);
std::size_t workspace_bytes(const AnchorParams& params);
std::size_t workspace_bytes(const StripesParams& params);

/// Plans AnchorAttention, or writes critical thetas; plans stripes. The last entries of column_offsets and
/// dup_offsets say how many items there are, even if they exceed the capacity: then the caller enlarges the
/// lists and plans again.
void anchor_plan(const AnchorParams& params, void* workspace, const Stream& stream,
                 Path path = Path::automatic);
void stripes_plan(const StripesParams& params, void* workspace, const Stream& stream,
                  Path path = Path::automatic);

/// Planning and attention in one: the first pass leaves the region's attention in out and lse, from where the
/// second pass goes on with the listed keys, so that no score is computed twice. out is rounded to its type
/// in between: its error grows by half a unit of the last place at most. `attention.plan` is ignored; the
/// lists of `params` hold the plan afterwards, and must be large enough. Takes workspace_bytes(params).
void anchor_forward(const AnchorParams& params, const SparseFwdParams& attention, void* workspace,
                    const Stream& stream, Path path = Path::automatic);
void stripes_forward(const StripesParams& params, const SparseFwdParams& attention, void* workspace,
                     const Stream& stream, Path path = Path::automatic);
/// Why it is not possible (planning and sparse_fwd then may be), or nullptr.
const char* unsupported_forward(const AnchorParams& params, const SparseFwdParams& attention,
                                const DeviceInfo& device, Path path = Path::automatic);
const char* unsupported_forward(const StripesParams& params, const SparseFwdParams& attention,
                                const DeviceInfo& device, Path path = Path::automatic);

}  // namespace anchor::kernels
