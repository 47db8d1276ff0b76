#include "anchor/engine/cuda/inputs.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

kernels::Element element_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return kernels::Element::bf16;
    case DType::f16:
      return kernels::Element::f16;
    case DType::f32:
      break;
  }
  fail(
      "the GPU kernels take bf16 and f16, these tensors are f32: use --device cpu, or a dump in bf16 or f16");
}

DType dtype_of(kernels::Element element) {
  return element == kernels::Element::bf16 ? DType::bf16 : DType::f16;
}

namespace {
kernels::DeviceBuffer uploaded(const Tensor& tensor, const kernels::Stream& stream) {
  kernels::DeviceBuffer buffer(tensor.bytes.size());
  buffer.upload(tensor.bytes.data(), tensor.bytes.size(), stream);
  return buffer;
}
}  // namespace

CudaInputs::CudaInputs(const KvGroup& group, const kernels::Stream& stream)
    : geometry_(group.geometry),
      dtype_(group.q.dtype),
      layer_(group.layer),
      first_kv_head_(group.kv_head),
      rotation_(group.rotation),
      stream_(stream) {
  element_of(dtype_);
  if (group.k.dtype != dtype_ || group.v.dtype != dtype_)
    fail("layer {}: q, k and v are {}, {} and {}; the GPU kernels need one type", group.layer,
         name_of(dtype_), name_of(group.k.dtype), name_of(group.v.dtype));
  if (!geometry_.causal || geometry_.sliding_window != 0)
    fail("layer {}: the GPU kernels compute causal attention without a sliding window only", group.layer);
  q_ = uploaded(group.q, stream);
  k_ = uploaded(group.k, stream);
  v_ = uploaded(group.v, stream);
}

CudaInputs::CudaInputs(const Geometry& geometry, DType dtype, const kernels::Stream& stream)
    : geometry_(geometry),
      dtype_(dtype),
      rotation_(std::make_shared<Rotation>(Rotation{
          .unknown = "a forward pass on the GPU does not hand rotary frequencies to planners; use the CPU"})),
      stream_(stream) {
  element_of(dtype_);
  const auto buffer = [&](std::int64_t heads, std::int64_t tokens) {
    return kernels::DeviceBuffer(static_cast<std::size_t>(heads * tokens * geometry.head_dim) *
                                 size_of(dtype));
  };
  q_ = buffer(geometry.q_heads, geometry.q_len);
  k_ = buffer(geometry.kv_heads, geometry.kv_len);
  v_ = buffer(geometry.kv_heads, geometry.kv_len);
}

namespace {
const void* moved(const kernels::DeviceBuffer& buffer, std::int64_t elements, DType dtype) {
  return buffer.data<char>() + elements * static_cast<std::int64_t>(size_of(dtype));
}
}  // namespace

kernels::Tensors CudaInputs::tensors(std::int64_t begin, std::int64_t end) const {
  const Geometry& g = geometry_;
  return {.shape = {.element = element_of(dtype_),
                    .q_heads = g.q_heads,
                    .kv_heads = g.kv_heads,
                    .head_dim = g.head_dim,
                    .q_len = end - begin,
                    .kv_len = g.kv_len,
                    .q_start = g.q_start + begin,
                    .softmax_scale = static_cast<float>(g.softmax_scale)},
          .q = moved(q_, begin * g.head_dim, dtype_),
          .k = k_.data(),
          .v = v_.data(),
          .stride_q_head = g.q_len * g.head_dim,
          .stride_q_token = g.head_dim,
          .stride_kv_head = g.kv_len * g.head_dim,
          .stride_kv_token = g.head_dim};
}

kernels::Tensors CudaInputs::head_tensors(int first, int count) const {
  kernels::Tensors some = tensors(0, geometry_.q_len);
  const int kv_head = geometry_.kv_head(first);
  some.shape.q_heads = count;
  some.shape.kv_heads = 1;
  some.q = moved(q_, first * some.stride_q_head, dtype_);
  some.k = moved(k_, kv_head * some.stride_kv_head, dtype_);
  some.v = moved(v_, kv_head * some.stride_kv_head, dtype_);
  return some;
}

const FloatGroup& CudaInputs::host() const {
  if (!host_) {
    const auto fetched = [&](const kernels::DeviceBuffer& buffer, std::int64_t heads, std::int64_t tokens) {
      Tensor tensor{dtype_, {heads, tokens, geometry_.head_dim}, HostBytes(buffer.bytes())};
      buffer.download(tensor.bytes.data(), buffer.bytes(), stream_);
      return tensor;
    };
    KvGroup group{.layer = layer_,
                  .kv_head = first_kv_head_,
                  .geometry = geometry_,
                  .q = fetched(q_, geometry_.q_heads, geometry_.q_len),
                  .k = fetched(k_, geometry_.kv_heads, geometry_.kv_len),
                  .v = fetched(v_, geometry_.kv_heads, geometry_.kv_len),
                  .rotation = rotation_};
    host_ = std::make_unique<FloatGroup>(group);
  }
  return *host_;
}

void fail_cuda(const kernels::CudaError& error) {
  if (error.out_of_memory()) fail("out of device memory ({})", error.what());
  fail("{}", error.what());
}

}  // namespace anchor
