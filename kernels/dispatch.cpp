// The only switch on operation, element type, head dimension and architecture.
#include "dispatch.hpp"

#include <algorithm>
#include <atomic>

#include "anchor/kernels/launch.hpp"
#include "anchor/kernels/mass.hpp"
#include "check.hpp"
#include "common/anchor/layout.hpp"
#include "common/correction/mean_correction.hpp"
#include "common/schedule/join.hpp"
#include "common/schedule/schedule.hpp"

namespace anchor::kernels {
namespace {

template <class Function>
struct Kernel {
  Path path;
  Element element;
  int head_dim;
  Function run;
};

constexpr Kernel<SparseFwd> sparse_fwd_kernels[] = {
    {Path::sm90, Element::bf16, 128, &sm90::sparse_fwd<Element::bf16, 128>},
    {Path::sm90, Element::bf16, 64, &sm90::sparse_fwd<Element::bf16, 64>},
    {Path::sm90, Element::f16, 128, &sm90::sparse_fwd<Element::f16, 128>},
    {Path::sm90, Element::f16, 64, &sm90::sparse_fwd<Element::f16, 64>},
    {Path::sm80, Element::bf16, 64, &sm80::sparse_fwd<Element::bf16, 64>},
    {Path::sm80, Element::bf16, 128, &sm80::sparse_fwd<Element::bf16, 128>},
    {Path::sm80, Element::bf16, 256, &sm80::sparse_fwd<Element::bf16, 256>},
    {Path::sm80, Element::f16, 64, &sm80::sparse_fwd<Element::f16, 64>},
    {Path::sm80, Element::f16, 128, &sm80::sparse_fwd<Element::f16, 128>},
    {Path::sm80, Element::f16, 256, &sm80::sparse_fwd<Element::f16, 256>},
};
constexpr Kernel<RowStats> row_stats_kernels[] = {
    {Path::sm90, Element::bf16, 64, &sm90::row_stats<Element::bf16, 64>},
    {Path::sm90, Element::bf16, 128, &sm90::row_stats<Element::bf16, 128>},
    {Path::sm90, Element::f16, 64, &sm90::row_stats<Element::f16, 64>},
    {Path::sm90, Element::f16, 128, &sm90::row_stats<Element::f16, 128>},
    {Path::sm80, Element::bf16, 64, &sm80::row_stats<Element::bf16, 64>},
    {Path::sm80, Element::bf16, 128, &sm80::row_stats<Element::bf16, 128>},
    {Path::sm80, Element::bf16, 256, &sm80::row_stats<Element::bf16, 256>},
    {Path::sm80, Element::f16, 64, &sm80::row_stats<Element::f16, 64>},
    {Path::sm80, Element::f16, 128, &sm80::row_stats<Element::f16, 128>},
    {Path::sm80, Element::f16, 256, &sm80::row_stats<Element::f16, 256>},
};
constexpr Kernel<AttentionMass> attention_mass_kernels[] = {
    {Path::sm90, Element::bf16, 64, &sm90::attention_mass<Element::bf16, 64>},
    {Path::sm90, Element::bf16, 128, &sm90::attention_mass<Element::bf16, 128>},
    {Path::sm90, Element::f16, 64, &sm90::attention_mass<Element::f16, 64>},
    {Path::sm90, Element::f16, 128, &sm90::attention_mass<Element::f16, 128>},
    {Path::sm80, Element::bf16, 64, &sm80::attention_mass<Element::bf16, 64>},
    {Path::sm80, Element::bf16, 128, &sm80::attention_mass<Element::bf16, 128>},
    {Path::sm80, Element::bf16, 256, &sm80::attention_mass<Element::bf16, 256>},
    {Path::sm80, Element::f16, 64, &sm80::attention_mass<Element::f16, 64>},
    {Path::sm80, Element::f16, 128, &sm80::attention_mass<Element::f16, 128>},
    {Path::sm80, Element::f16, 256, &sm80::attention_mass<Element::f16, 256>},
};
constexpr Kernel<AnchorPlan> anchor_plan_kernels[] = {
    {Path::sm90, Element::bf16, 64, &sm90::anchor_plan<Element::bf16, 64>},
    {Path::sm90, Element::bf16, 128, &sm90::anchor_plan<Element::bf16, 128>},
    {Path::sm90, Element::f16, 64, &sm90::anchor_plan<Element::f16, 64>},
    {Path::sm90, Element::f16, 128, &sm90::anchor_plan<Element::f16, 128>},
    {Path::sm80, Element::bf16, 64, &sm80::anchor_plan<Element::bf16, 64>},
    {Path::sm80, Element::bf16, 128, &sm80::anchor_plan<Element::bf16, 128>},
    {Path::sm80, Element::bf16, 256, &sm80::anchor_plan<Element::bf16, 256>},
    {Path::sm80, Element::f16, 64, &sm80::anchor_plan<Element::f16, 64>},
    {Path::sm80, Element::f16, 128, &sm80::anchor_plan<Element::f16, 128>},
    {Path::sm80, Element::f16, 256, &sm80::anchor_plan<Element::f16, 256>},
};

constexpr Kernel<AnchorForward> anchor_forward_kernels[] = {
    {Path::sm90, Element::bf16, 64, &sm90::anchor_forward<Element::bf16, 64>},
    {Path::sm90, Element::bf16, 128, &sm90::anchor_forward<Element::bf16, 128>},
    {Path::sm90, Element::f16, 64, &sm90::anchor_forward<Element::f16, 64>},
    {Path::sm90, Element::f16, 128, &sm90::anchor_forward<Element::f16, 128>},
};
constexpr Kernel<StripesPlan> stripes_plan_kernels[] = {
    {Path::sm90, Element::bf16, 64, &sm90::stripes_plan<Element::bf16, 64>},
    {Path::sm90, Element::bf16, 128, &sm90::stripes_plan<Element::bf16, 128>},
    {Path::sm90, Element::f16, 64, &sm90::stripes_plan<Element::f16, 64>},
    {Path::sm90, Element::f16, 128, &sm90::stripes_plan<Element::f16, 128>},
};
constexpr Kernel<StripesForward> stripes_forward_kernels[] = {
    {Path::sm90, Element::bf16, 64, &sm90::stripes_forward<Element::bf16, 64>},
    {Path::sm90, Element::bf16, 128, &sm90::stripes_forward<Element::bf16, 128>},
    {Path::sm90, Element::f16, 64, &sm90::stripes_forward<Element::f16, 64>},
    {Path::sm90, Element::f16, 128, &sm90::stripes_forward<Element::f16, 128>},
};

std::atomic<Path> automatic_path = Path::automatic;

/// sm_90a machine code runs on compute capability 9.0 only; the sm_80 code is carried as PTX too.
bool runs(Path path, const DeviceInfo& device) {
  return path == Path::sm90 ? device.major == 9 && device.minor == 0 : device.major >= 8;
}

/// The first listed kernel that fits: tables list the fastest path first.
template <class Function, std::size_t count>
const Kernel<Function>* find(const Kernel<Function> (&table)[count], const Shape& shape,
                             const DeviceInfo& device, Path path) {
  if (path == Path::automatic) path = automatic_path;
  for (const Kernel<Function>& kernel : table)
    if (kernel.element == shape.element && kernel.head_dim == shape.head_dim && runs(kernel.path, device) &&
        (path == Path::automatic || path == kernel.path))
      return &kernel;
  return nullptr;
}

bool aligned(const void* pointer, std::int64_t a, std::int64_t b) {
  constexpr std::int64_t elements = 8;  // 16 bytes of a 16-bit type
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0 && a % elements == 0 && b % elements == 0;
}

const char* bad_shape(const Shape& s) {
  if (s.q_heads < 1 || s.kv_heads < 1 || s.q_heads % s.kv_heads) return "kv_heads must divide q_heads";
  if (s.q_len < 0 || s.kv_len < 1 || s.q_start < 0)
    return "kv_len must be positive, q_len and q_start not negative";
  if (s.q_start + s.q_len > INT32_MAX || s.kv_len > INT32_MAX) return "positions must fit in 31 bits";
  if (s.sliding_window < 0 || s.sliding_window > INT32_MAX) return "a sliding window must fit in 31 bits";
  if (!(s.softmax_scale > 0)) return "softmax_scale must be positive";
  return nullptr;
}

/// Kernels that gather keep the distance of a key from key 0 of its head in 32 bits.
bool too_far(const Shape& s, std::int64_t stride_kv_token) {
  return s.kv_len * stride_kv_token * 2 > UINT32_MAX;
}

constexpr const char* keys_too_far = "the keys of one head must lie within 4 GiB";
constexpr const char* not_aligned = "rows must be 16-byte aligned";
constexpr const char* no_kernel = "no kernel for this element type and head dimension on this device";

}  // namespace

void set_automatic_path(Path path) { automatic_path = path; }

bool takes_sm90() { return automatic_path != Path::sm80 && runs(Path::sm90, device_info(current_device())); }

const char* path_name(Path path, const DeviceInfo& device) {
  if (path == Path::automatic) path = automatic_path;
  if ((path == Path::automatic || path == Path::sm90) && runs(Path::sm90, device)) return "cuda-sm90";
  return path != Path::sm90 && runs(Path::sm80, device) ? "cuda-sm80" : nullptr;
}

const char* unsupported(const SparseFwdParams& p, const DeviceInfo& device, Path path) {
  const Shape& s = p.shape;
  if (const char* reason = bad_shape(s)) return reason;
  if (p.plan.q_tile < 1 || p.plan.kv_tile < 1 || p.plan.tiles_per_row < 1)
    return "the plan's tiles must not be empty";
  if (!aligned(p.q, p.stride_q_head, p.stride_q_token) ||
      !aligned(p.k, p.stride_kv_head, p.stride_kv_token) ||
      !aligned(p.v, p.stride_kv_head, p.stride_kv_token) ||
      !aligned(p.out, p.stride_out_head, p.stride_out_token))
    return not_aligned;
  if (too_far(s, p.stride_kv_token)) return keys_too_far;
  if (!find(sparse_fwd_kernels, s, device, path)) return no_kernel;
  return p.plan.mean_correction ? mean_correction_unsupported(p) : nullptr;
}

namespace {
/// The scratch of sparse_fwd, without the lse that mean correction needs where the caller does not want it.
std::size_t scratch_bytes(const SparseFwdParams& params) {
  std::size_t bytes = schedule_bytes(params.shape, params.plan);
  if (can_join(params.shape, params.plan))
    bytes = std::max(bytes, Join(params.shape, params.plan, nullptr).bytes);
  if (!params.plan.mean_correction) return bytes;
  return (std::max(bytes, mean_correction_workspace(params)) + 15) / 16 *
         16;  // the rest is done when it begins
}
}  // namespace

std::size_t workspace_bytes(const SparseFwdParams& params) {
  const bool lse = params.plan.mean_correction && !params.lse;
  return scratch_bytes(params) +
         (lse ? static_cast<std::size_t>(params.shape.q_heads * params.shape.q_len) * sizeof(float) : 0);
}

void sparse_fwd(const SparseFwdParams& params, void* workspace, const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported(params, device, path))
    throw CudaError(std::string("sparse_fwd: ") + reason, false);
  if (params.shape.q_len == 0) return;
  SparseFwdParams p = params;
  p.plan.mask_from = p.shape.sliding_window > 0 ? 0 : p.plan.sink;
  if (p.plan.mean_correction && !p.lse)
    p.lse = reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + scratch_bytes(params));
  find(sparse_fwd_kernels, p.shape, device, path)->run(p, workspace, stream.handle());
  if (p.plan.mean_correction) run_mean_correction(p, workspace, stream.handle());
}

const char* unsupported(const RowStatsParams& p, const DeviceInfo& device, Path path) {
  if (const char* reason = bad_shape(p.shape)) return reason;
  if (!aligned(p.q, p.stride_q_head, p.stride_q_token) || !aligned(p.k, p.stride_kv_head, p.stride_kv_token))
    return not_aligned;
  if (p.anchor_group < 0 || p.anchor_init < 0 || p.anchor_local < 0)
    return "the anchor region must not be negative";
  if (p.anchor_group > 0 && p.shape.q_start % p.anchor_group)
    return "q_start must be a multiple of the anchor group";
  if (!p.lse && !p.max && !p.anchor_group) return "nothing is asked for";
  return find(row_stats_kernels, p.shape, device, path) ? nullptr : no_kernel;
}

const char* unsupported(const MassParams& p, const DeviceInfo& device, Path path) {
  if (const char* reason = bad_shape(p.shape)) return reason;
  if (!aligned(p.q, p.stride_q_head, p.stride_q_token) || !aligned(p.k, p.stride_kv_head, p.stride_kv_token))
    return not_aligned;
  if (p.column_mass && p.group_rows < 1) return "group_rows must be positive";
  if (p.block_mass) {
    if (p.tile_rows < 1 || p.tile_rows % 64 || p.block_keys < 1 || p.block_keys % 16)
      return "block sums need tile_rows in multiples of 64 and block_keys in multiples of 16";
    if (p.column_mass && p.group_rows % 64)
      return "block sums beside column sums need group_rows in multiples of 64";
  }
  return find(attention_mass_kernels, p.shape, device, path) ? nullptr : no_kernel;
}

std::size_t workspace_bytes(const MassParams& p) {
  if (!p.block_mass) return 0;
  const std::int64_t cells = (p.shape.q_len + 63) / 64 * ((p.shape.kv_len + 15) / 16);
  return static_cast<std::size_t>(p.shape.q_heads * cells) * sizeof(float);
}

void row_stats(const RowStatsParams& params, const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported(params, device, path))
    throw CudaError(std::string("row_stats: ") + reason, false);
  if (params.shape.q_len == 0) return;
  find(row_stats_kernels, params.shape, device, path)->run(params, stream.handle());
}

void attention_mass(const MassParams& params, void* workspace, const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported(params, device, path))
    throw CudaError(std::string("attention_mass: ") + reason, false);
  if (params.shape.q_len == 0 || (!params.column_mass && !params.block_mass)) return;
  MassParams p = params;
  if (!p.column_mass) p.group_rows = 2048;  // any multiple of 64: only the cells are kept
  find(attention_mass_kernels, p.shape, device, path)->run(p, workspace, stream.handle());
}

std::int64_t plan_groups(const ListPlannerParams& params) {
  const std::int64_t rows = std::int64_t{params.block} * params.step;
  return (params.shape.q_len + rows - 1) / rows;
}

namespace {

template <class Params>
std::int64_t blocks_of_all_heads(const Params& params) {
  const AnchorGroups groups(params);
  return params.shape.q_heads * groups.blocks_before(groups.count);
}

/// What both methods ask of shapes and memory.
const char* unsupported_lists(const ListPlannerParams& p) {
  const Shape& s = p.shape;
  if (const char* reason = bad_shape(s)) return reason;
  if (too_far(s, p.stride_kv_token)) return keys_too_far;
  if (s.sliding_window > 0) return "planners know no sliding window";
  if (s.q_heads > HeadSet::most) return "more than 256 heads";
  if (p.block < 1 || p.step < 1) return "block and step must be positive";
  if (s.q_start % (std::int64_t{p.block} * p.step))
    return "a chunk of queries must start at a multiple of the group";
  if (!aligned(p.q, p.stride_q_head, p.stride_q_token) || !aligned(p.k, p.stride_kv_head, p.stride_kv_token))
    return not_aligned;
  return nullptr;
}

/// What attention in two passes asks beside planning and sparse_fwd.
const char* unsupported_passes(const ListPlannerParams& params, const SparseFwdParams& attention) {
  if (params.block != kTileRows) return "a pooled block must be a tile of 128 rows";
  if (!attention.lse || attention.out_f32) return "lse is needed, and an output of the input type";
  return nullptr;
}

}  // namespace

std::int64_t block_count(const AnchorParams& params) { return blocks_of_all_heads(params); }
std::int64_t block_count(const StripesParams& params) { return blocks_of_all_heads(params); }

std::size_t workspace_bytes(const AnchorParams& params) { return AnchorLayout(params, nullptr).bytes; }
std::size_t workspace_bytes(const StripesParams& params) { return AnchorLayout(params, nullptr).bytes; }

const char* unsupported(const AnchorParams& p, const DeviceInfo& device, Path path) {
  if (const char* reason = unsupported_lists(p)) return reason;
  if (p.step > 64) return "more than 64 pooled queries a group";
  if (p.critical && p.step > 16) return "critical values of more than 16 pooled queries a group";
  return find(anchor_plan_kernels, p.shape, device, path) ? nullptr : no_kernel;
}

const char* unsupported(const StripesParams& p, const DeviceInfo& device, Path path) {
  if (const char* reason = unsupported_lists(p)) return reason;
  const Shape& s = p.shape;
  if (p.block != kTileRows || p.step != 1) return "stripes have a list for each tile of 128 rows";
  if (p.sink < 0 || p.sink > most_sinks) return "more than 128 keys that every row sees";
  if (count(p.antidiagonal, 0, s.q_heads) > 0 && (s.q_start > 0 || s.q_len != s.kv_len))
    return "antidiagonals need a whole prefill";
  return find(stripes_plan_kernels, s, device, path) ? nullptr : "no portable kernel plans stripes";
}

void anchor_plan(const AnchorParams& params, void* workspace, const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported(params, device, path))
    throw CudaError(std::string("anchor_plan: ") + reason, false);
  if (params.shape.q_len == 0) return;
  find(anchor_plan_kernels, params.shape, device, path)->run(params, workspace, stream.handle());
}

void stripes_plan(const StripesParams& params, void* workspace, const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported(params, device, path))
    throw CudaError(std::string("stripes_plan: ") + reason, false);
  if (params.shape.q_len == 0) return;
  find(stripes_plan_kernels, params.shape, device, path)->run(params, workspace, stream.handle());
}

const char* unsupported_forward(const AnchorParams& params, const SparseFwdParams& attention,
                                const DeviceInfo& device, Path path) {
  if (const char* reason = unsupported(params, device, path)) return reason;
  if (const char* reason = unsupported(attention, device, path)) return reason;
  if (const char* reason = unsupported_passes(params, attention)) return reason;
  if (params.critical) return "critical values are not carried on";
  return find(anchor_forward_kernels, params.shape, device, path) ? nullptr : no_kernel;
}

const char* unsupported_forward(const StripesParams& params, const SparseFwdParams& attention,
                                const DeviceInfo& device, Path path) {
  if (const char* reason = unsupported(params, device, path)) return reason;
  if (const char* reason = unsupported(attention, device, path)) return reason;
  if (const char* reason = unsupported_passes(params, attention)) return reason;
  return find(stripes_forward_kernels, params.shape, device, path) ? nullptr : no_kernel;
}

void anchor_forward(const AnchorParams& params, const SparseFwdParams& attention, void* workspace,
                    const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported_forward(params, attention, device, path))
    throw CudaError(std::string("anchor_forward: ") + reason, false);
  if (params.shape.q_len == 0) return;
  find(anchor_forward_kernels, params.shape, device, path)
      ->run(params, attention, workspace, stream.handle());
}

void stripes_forward(const StripesParams& params, const SparseFwdParams& attention, void* workspace,
                     const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported_forward(params, attention, device, path))
    throw CudaError(std::string("stripes_forward: ") + reason, false);
  if (params.shape.q_len == 0) return;
  find(stripes_forward_kernels, params.shape, device, path)
      ->run(params, attention, workspace, stream.handle());
}

}  // namespace anchor::kernels
