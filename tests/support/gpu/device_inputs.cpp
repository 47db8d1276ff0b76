#include "support/gpu/device_inputs.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>

namespace anchor::test {
namespace {

constexpr std::int64_t kPaddingRows = 5;  // of NaN (inputs) or of a bit pattern (outputs) after every head
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

kernels::DeviceBuffer to_device(const void* data, std::size_t bytes, const kernels::Stream& stream) {
  kernels::DeviceBuffer buffer(std::max<std::size_t>(bytes, 16));
  if (bytes) buffer.upload(data, bytes, stream);
  return buffer;
}

template <class T>
kernels::DeviceBuffer to_device(const std::vector<T>& values, const kernels::Stream& stream) {
  return to_device(values.data(), values.size() * sizeof(T), stream);
}

/// [heads, rows, dim] -> 16-bit [heads, rows + kPaddingRows, dim] with NaN padding. `keep` [heads, rows]: 0 =
/// NaN row.
kernels::DeviceBuffer padded(DType dtype, const float* source, std::int64_t head_stride, std::int64_t heads,
                             std::int64_t rows, int dim, const std::vector<char>& keep,
                             const kernels::Stream& stream) {
  std::vector<float> values(static_cast<std::size_t>(heads * (rows + kPaddingRows) * dim), kNan);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t r = 0; r < rows; ++r) {
      if (!keep.empty() && !keep[static_cast<std::size_t>(h * rows + r)]) continue;
      std::memcpy(values.data() + (h * (rows + kPaddingRows) + r) * dim, source + h * head_stride + r * dim,
                  static_cast<std::size_t>(dim) * sizeof(float));
    }
  }
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  from_float(dtype, values, bytes.data());
  return to_device(bytes, stream);
}

/// Per KV head and key: does any plan row of its query heads list it?
std::vector<char> listed_keys(const SparsePlan& plan) {
  const Geometry& g = plan.geometry;
  std::vector<char> listed(static_cast<std::size_t>(g.kv_heads * g.kv_len), 0);
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    char* keys = listed.data() + g.kv_head(static_cast<int>(row / plan.groups())) * g.kv_len;
    for (const std::int32_t start : plan.blocks[row])
      std::fill(keys + start, keys + start + plan.block_width(start), char{1});
    for (const std::int32_t j : plan.columns[row]) keys[j] = 1;
  }
  return listed;
}

}  // namespace

kernels::Element element_of(DType dtype) {
  return dtype == DType::bf16  ? kernels::Element::bf16
         : dtype == DType::f16 ? kernels::Element::f16
                               : kernels::Element::f32;
}

void round_to(DType dtype, std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  from_float(dtype, values, bytes.data());
  to_float(dtype, bytes.data(), values);
}

DeviceInputs::DeviceInputs(const AttentionInputs& inputs, DType dtype, const kernels::Stream& stream,
                           const SparsePlan* plan) {
  const Geometry& g = inputs.geometry;
  shape.element = element_of(dtype);
  shape.q_heads = g.q_heads;
  shape.kv_heads = g.kv_heads;
  shape.head_dim = g.head_dim;
  shape.q_len = g.q_len;
  shape.kv_len = g.kv_len;
  shape.q_start = g.q_start;
  shape.softmax_scale = static_cast<float>(g.softmax_scale);
  shape.sliding_window = g.windowed() ? g.sliding_window : 0;
  stride_q_head = (g.q_len + kPaddingRows) * g.head_dim;
  stride_kv_head = (g.kv_len + kPaddingRows) * g.head_dim;
  const std::vector<char> keep = plan ? listed_keys(*plan) : std::vector<char>{};
  q = padded(dtype, inputs.q, inputs.q_head_stride, g.q_heads, g.q_len, g.head_dim, {}, stream);
  k = padded(dtype, inputs.k, g.kv_len * g.head_dim, g.kv_heads, g.kv_len, g.head_dim, keep, stream);
  v = padded(dtype, inputs.v, g.kv_len * g.head_dim, g.kv_heads, g.kv_len, g.head_dim, keep, stream);
}

kernels::Tensors DeviceInputs::tensors() const {
  return {.shape = shape,
          .q = q.data(),
          .k = k.data(),
          .v = v.data(),
          .stride_q_head = stride_q_head,
          .stride_q_token = shape.head_dim,
          .stride_kv_head = stride_kv_head,
          .stride_kv_token = shape.head_dim};
}

DevicePlanLists::DevicePlanLists(const SparsePlan& plan, const kernels::Stream& stream)
    : block_offsets(to_device(plan.blocks.offsets, stream)),
      blocks(to_device(plan.blocks.items, stream)),
      column_offsets(to_device(plan.columns.offsets, stream)),
      columns(to_device(plan.columns.items, stream)),
      dup_offsets(to_device(plan.dup.offsets, stream)),
      dup(to_device(plan.dup.items, stream)),
      local(plan.window
                ? to_device(std::vector<std::int32_t>(plan.window->local.begin(), plan.window->local.end()),
                            stream)
                : kernels::DeviceBuffer()) {
  params.q_tile = plan.q_tile;
  params.kv_tile = plan.kv_tile;
  params.tiles_per_row = plan.tiles_per_row;
  params.groups = plan.groups();
  params.mean_correction = plan.mean_correction;
  params.block_capacity = static_cast<std::int64_t>(plan.blocks.items.size());
  params.column_capacity = static_cast<std::int64_t>(plan.columns.items.size());
  params.packed_heads = plan.packed_heads;
  params.block_offsets = block_offsets.data<std::int64_t>();
  params.blocks = blocks.data<std::int32_t>();
  params.column_offsets = column_offsets.data<std::int64_t>();
  params.columns = columns.data<std::int32_t>();
  if (plan.dup.rows() > 0) {
    params.dup_offsets = dup_offsets.data<std::int64_t>();
    params.dup = dup.data<std::int32_t>();
  }
  if (plan.window) {
    params.local = local.data<std::int32_t>();
    params.sink = static_cast<std::int32_t>(plan.window->sink);
    params.dense_from = static_cast<std::int32_t>(plan.window->dense_from);
  }
}

AttentionResult device_attention(const AttentionInputs& inputs, const SparsePlan& plan, DType dtype,
                                 kernels::Path path, bool out_f32) {
  const Geometry& g = inputs.geometry;
  const kernels::Stream stream;
  const DeviceInputs device(inputs, dtype, stream,
                            plan.mean_correction ? nullptr : &plan);  // means read all keys
  const DevicePlanLists lists(plan, stream);
  const std::int64_t out_rows = g.q_len + kPaddingRows;
  const DType out_type = out_f32 ? DType::f32 : dtype;
  const auto out_count = static_cast<std::size_t>(g.q_heads * out_rows * g.head_dim);
  const auto lse_count = static_cast<std::size_t>(g.q_heads * g.q_len);
  kernels::DeviceBuffer out(out_count * size_of(out_type)), lse((lse_count + 16) * sizeof(float));
  constexpr std::uint8_t poison = 0xfe;
  out.fill(poison, stream);
  lse.fill(poison, stream);

  kernels::SparseFwdParams params{device.tensors()};
  params.plan = lists.params;
  params.out = out.data();
  params.lse = lse.data<float>();
  params.out_f32 = out_f32;
  params.stride_out_head = out_rows * g.head_dim;
  params.stride_out_token = g.head_dim;
  kernels::DeviceBuffer workspace(kernels::workspace_bytes(params));
  workspace.fill(poison, stream);
  kernels::sparse_fwd(params, workspace.data(), stream, path);

  std::vector<std::byte> out_bytes(out.bytes());
  std::vector<float> lse_values(lse_count + 16);
  out.download(out_bytes.data(), out.bytes(), stream);
  lse.download(lse_values.data(), lse.bytes(), stream);

  const auto row_bytes = static_cast<std::size_t>(g.head_dim) * size_of(out_type);
  std::vector<std::byte> kept;
  std::size_t overwritten = 0;
  for (int h = 0; h < g.q_heads; ++h) {
    const std::byte* head = out_bytes.data() + static_cast<std::size_t>(h * out_rows) * row_bytes;
    const auto used = static_cast<std::size_t>(g.q_len) * row_bytes;
    kept.insert(kept.end(), head, head + used);
    for (std::size_t i = used; i < static_cast<std::size_t>(out_rows) * row_bytes; ++i)
      overwritten += head[i] != std::byte{poison};
  }
  for (std::size_t i = lse_count; i < lse_values.size(); ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &lse_values[i], sizeof bits);
    overwritten += bits != 0xfefefefe;
  }
  CHECK_MESSAGE(overwritten == 0, "memory beyond the outputs was written");

  AttentionResult result;
  result.out.resize(kept.size() / size_of(out_type));
  to_float(out_type, kept.data(), result.out);
  result.lse.assign(lse_values.begin(), lse_values.begin() + static_cast<std::ptrdiff_t>(lse_count));
  return result;
}

}  // namespace anchor::test
