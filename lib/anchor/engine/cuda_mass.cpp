#include "anchor/engine/cuda_mass.hpp"

#include "anchor/base/error.hpp"
#include "anchor/kernels/mass.hpp"

namespace anchor {
namespace {

template <class Params>
void check_mass(const Params& params) {
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  if (const char* reason = kernels::unsupported(params, device))
    fail("attention mass is not supported on {}: {} ({}, head_dim {})", device.name, reason,
         name_of(dtype_of(params.shape.element)), params.shape.head_dim);
}

/// Device memory for the values, or none if there are none.
kernels::DeviceBuffer buffer_for(const std::vector<float>& values) {
  return kernels::DeviceBuffer(values.size() * sizeof(float));
}

}  // namespace

MassMap cuda_mass_map(const CudaInputs& inputs, int head, const MassGranularity& granularity) {
  const Geometry& g = inputs.geometry();
  Geometry one = g;
  one.q_heads = one.kv_heads = 1;
  MassMap map = empty_mass_map(one, granularity);
  const kernels::Stream& stream = inputs.stream();
  std::vector<float> lse(static_cast<std::size_t>(g.q_len));
  const kernels::DeviceBuffer lse_buffer = buffer_for(lse), columns = buffer_for(map.column_mass),
                              blocks = buffer_for(map.block_mass);

  const kernels::RowStatsParams rows{.shape = inputs.head_shape(),
                                     .q = inputs.q(head),
                                     .k = inputs.k(g.kv_head(head)),
                                     .stride_q_head = inputs.stride_q_head(),
                                     .stride_q_token = g.head_dim,
                                     .stride_k_head = inputs.stride_kv_head(),
                                     .stride_k_token = g.head_dim,
                                     .lse = lse_buffer.data<float>()};
  check_mass(rows);
  kernels::row_stats(rows, stream);

  kernels::MassParams sums{.shape = rows.shape,
                           .q = rows.q,
                           .k = rows.k,
                           .stride_q_head = rows.stride_q_head,
                           .stride_q_token = rows.stride_q_token,
                           .stride_k_head = rows.stride_k_head,
                           .stride_k_token = rows.stride_k_token,
                           .lse = lse_buffer.data<float>(),
                           .group_rows = granularity.group_rows,
                           .tile_rows = granularity.tile_rows,
                           .block_keys = granularity.block_keys};
  if (!map.column_mass.empty()) sums.column_mass = columns.data<float>();
  if (!map.block_mass.empty()) sums.block_mass = blocks.data<float>();
  check_mass(sums);
  const kernels::DeviceBuffer workspace(kernels::workspace_bytes(sums));
  kernels::attention_mass(sums, workspace.data(), stream);

  lse_buffer.download(lse.data(), lse_buffer.bytes(), stream);
  map.lse.assign(lse.begin(), lse.end());
  if (sums.column_mass) columns.download(map.column_mass.data(), columns.bytes(), stream);
  if (sums.block_mass) blocks.download(map.block_mass.data(), blocks.bytes(), stream);
  return map;
}

}  // namespace anchor
