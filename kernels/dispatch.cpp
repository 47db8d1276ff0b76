// The only switch on operation, element type, head dimension and architecture.
#include "dispatch.hpp"

#include "anchor/kernels/launch.hpp"
#include "check.hpp"
#include "schedule.hpp"

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
};

/// sm_90a machine code runs on compute capability 9.0 only; the sm_80 code is carried as PTX too.
bool runs(Path path, const DeviceInfo& device) {
  return path == Path::sm90 ? device.major == 9 && device.minor == 0 : device.major >= 8;
}

/// The first listed kernel that fits: tables list the fastest path first.
template <class Function, std::size_t count>
const Kernel<Function>* find(const Kernel<Function> (&table)[count], const Shape& shape,
                             const DeviceInfo& device, Path path) {
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

}  // namespace

const char* path_name(Path path, const DeviceInfo& device) {
  if ((path == Path::automatic || path == Path::sm90) && runs(Path::sm90, device)) return "cuda-sm90";
  return path != Path::sm90 && runs(Path::sm80, device) ? "cuda-sm80" : nullptr;
}

const char* unsupported(const SparseFwdParams& p, const DeviceInfo& device, Path path) {
  const Shape& s = p.shape;
  if (s.q_heads < 1 || s.kv_heads < 1 || s.q_heads % s.kv_heads) return "kv_heads must divide q_heads";
  if (s.q_len < 0 || s.kv_len < 1 || s.q_start < 0)
    return "kv_len must be positive, q_len and q_start not negative";
  if (s.q_start + s.q_len > INT32_MAX || s.kv_len > INT32_MAX) return "positions must fit in 31 bits";
  if (!(s.softmax_scale > 0)) return "softmax_scale must be positive";
  if (p.plan.q_tile < 1 || p.plan.kv_tile < 1 || p.plan.tiles_per_row < 1)
    return "the plan's tiles must not be empty";
  if (!aligned(p.q, p.stride_q_head, p.stride_q_token) ||
      !aligned(p.k, p.stride_kv_head, p.stride_kv_token) ||
      !aligned(p.v, p.stride_kv_head, p.stride_kv_token) ||
      !aligned(p.out, p.stride_out_head, p.stride_out_token))
    return "rows must be 16-byte aligned";
  if (!find(sparse_fwd_kernels, s, device, path))
    return "no kernel for this element type and head dimension on this device";
  return nullptr;
}

std::size_t workspace_bytes(const SparseFwdParams& params) {
  return schedule_bytes(params.shape, params.plan);
}

void sparse_fwd(const SparseFwdParams& params, void* workspace, const Stream& stream, Path path) {
  const DeviceInfo device = device_info(current_device());
  if (const char* reason = unsupported(params, device, path))
    throw CudaError(std::string("sparse_fwd: ") + reason, false);
  if (params.shape.q_len == 0) return;
  find(sparse_fwd_kernels, params.shape, device, path)->run(params, workspace, stream.handle());
}

}  // namespace anchor::kernels
