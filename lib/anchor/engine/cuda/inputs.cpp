#include "anchor/engine/cuda/inputs.hpp"

#include <algorithm>

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

int kernel_dim(int dim) {
  for (const int known : {64, 128, 256})
    if (dim <= known) return known;
  return dim;
}

namespace {
/// The tensor in rows of `width` numbers; what a row lacks is zero.
kernels::DeviceBuffer uploaded(const Tensor& tensor, int width, const kernels::Stream& stream) {
  const std::size_t from = static_cast<std::size_t>(tensor.shape[2]) * size_of(tensor.dtype);
  const std::size_t to = static_cast<std::size_t>(width) * size_of(tensor.dtype);
  kernels::DeviceBuffer buffer(tensor.bytes.size() / from * to);
  if (from == to) {
    buffer.upload(tensor.bytes.data(), tensor.bytes.size(), stream);
    return buffer;
  }
  HostBytes rows(buffer.bytes());  // all zero bits are the number zero
  std::fill(rows.begin(), rows.end(), std::byte{});
  for (std::size_t row = 0; row < tensor.bytes.size() / from; ++row)
    std::copy_n(tensor.bytes.data() + row * from, from, rows.data() + row * to);
  buffer.upload(rows.data(), rows.size(), stream);
  stream.synchronize();  // the copy goes
  return buffer;
}
}  // namespace

CudaInputs::CudaInputs(const KvGroup& group, const kernels::Stream& stream)
    : geometry_(group.geometry),
      width_(kernel_dim(geometry_.head_dim)),
      dtype_(group.q.dtype),
      layer_(group.layer),
      first_kv_head_(group.kv_head),
      rotation_(group.rotation),
      stream_(stream) {
  element_of(dtype_);
  if (group.k.dtype != dtype_ || group.v.dtype != dtype_)
    fail("layer {}: q, k and v are {}, {} and {}; the GPU kernels need one type", group.layer,
         name_of(dtype_), name_of(group.k.dtype), name_of(group.v.dtype));
  if (!geometry_.causal) fail("layer {}: the GPU kernels compute causal attention only", group.layer);
  q_ = uploaded(group.q, width_, stream);
  k_ = uploaded(group.k, width_, stream);
  v_ = uploaded(group.v, width_, stream);
}

CudaInputs::CudaInputs(const Geometry& geometry, DType dtype, const kernels::Stream& stream)
    : geometry_(geometry),
      width_(geometry.head_dim),
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
                    .head_dim = width_,
                    .q_len = end - begin,
                    .kv_len = g.kv_len,
                    .q_start = g.q_start + begin,
                    .softmax_scale = static_cast<float>(g.softmax_scale),
                    .sliding_window = g.windowed() ? g.sliding_window : 0},
          .q = moved(q_, begin * width_, dtype_),
          .k = k_.data(),
          .v = v_.data(),
          .stride_q_head = g.q_len * width_,
          .stride_q_token = width_,
          .stride_kv_head = g.kv_len * width_,
          .stride_kv_token = width_};
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
      HostBytes bytes(buffer.bytes());
      buffer.download(bytes.data(), buffer.bytes(), stream_);
      const std::size_t from = static_cast<std::size_t>(width_) * size_of(dtype_);
      const std::size_t to = static_cast<std::size_t>(geometry_.head_dim) * size_of(dtype_);
      for (std::size_t row = 1; from != to && row < bytes.size() / from; ++row)  // without the zeros
        std::copy_n(bytes.data() + row * from, to, bytes.data() + row * to);
      bytes.resize(bytes.size() / from * to);
      return Tensor{dtype_, {heads, tokens, geometry_.head_dim}, std::move(bytes)};
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
