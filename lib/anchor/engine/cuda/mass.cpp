#include "anchor/engine/cuda/mass.hpp"

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

kernels::MassParams mass_params(const CudaInputs& inputs, int first, int count,
                                const MassGranularity& granularity) {
  kernels::MassParams params{inputs.head_tensors(first, count)};
  params.group_rows = granularity.group_rows;
  params.tile_rows = granularity.tile_rows;
  params.block_keys = granularity.block_keys;
  return params;
}

/// Device memory for the values, or none if there are none.
kernels::DeviceBuffer buffer_for(const std::vector<float>& values) {
  return kernels::DeviceBuffer(values.size() * sizeof(float));
}

}  // namespace

void launch_mass(const CudaInputs& inputs, int first, int count, const MassGranularity& granularity,
                 float* lse, float* column_mass, float* block_mass, void* workspace) {
  kernels::MassParams sums = mass_params(inputs, first, count, granularity);
  sums.lse = lse;
  sums.column_mass = column_mass;
  sums.block_mass = block_mass;
  kernels::RowStatsParams rows{sums};
  rows.lse = lse;
  check_mass(rows);
  check_mass(sums);
  kernels::row_stats(rows, inputs.stream());
  kernels::attention_mass(sums, workspace, inputs.stream());
}

MassMap cuda_mass_map(const CudaInputs& inputs, int head, const MassGranularity& granularity) {
  Geometry one = inputs.geometry();
  one.q_heads = one.kv_heads = 1;
  MassMap map = empty_mass_map(one, granularity);
  const kernels::Stream& stream = inputs.stream();
  std::vector<float> lse(static_cast<std::size_t>(one.q_len));
  const kernels::DeviceBuffer lse_buffer = buffer_for(lse), columns = buffer_for(map.column_mass),
                              blocks = buffer_for(map.block_mass);
  kernels::MassParams sums = mass_params(inputs, head, 1, granularity);
  sums.block_mass = blocks.data<float>();
  const kernels::DeviceBuffer workspace(kernels::workspace_bytes(sums));
  launch_mass(inputs, head, 1, granularity, lse_buffer.data<float>(), columns.data<float>(),
              blocks.data<float>(), workspace.data());
  lse_buffer.download(lse.data(), lse_buffer.bytes(), stream);
  map.lse.assign(lse.begin(), lse.end());
  if (!map.column_mass.empty()) columns.download(map.column_mass.data(), columns.bytes(), stream);
  if (!map.block_mass.empty()) blocks.download(map.block_mass.data(), blocks.bytes(), stream);
  return map;
}

RowMaxima cuda_row_maxima(const CudaInputs& inputs, int head, std::int64_t block, std::int64_t group) {
  const kernels::Tensors tensors = inputs.head_tensors(head, 1);
  RowMaxima maxima;
  const auto run = [&](std::int64_t initial, std::vector<float>* all, std::vector<float>& region) {
    region.resize(static_cast<std::size_t>(inputs.geometry().q_len));
    const kernels::DeviceBuffer max = buffer_for(region), anchor_max = buffer_for(region);
    kernels::RowStatsParams rows{tensors};
    rows.max = all ? max.data<float>() : nullptr;
    rows.anchor_group = group;
    rows.anchor_init = initial;
    rows.anchor_local = block;
    rows.anchor_max = anchor_max.data<float>();
    check_mass(rows);
    kernels::row_stats(rows, inputs.stream());
    anchor_max.download(region.data(), anchor_max.bytes(), inputs.stream());
    if (!all) return;
    all->resize(region.size());
    max.download(all->data(), max.bytes(), inputs.stream());
  };
  run(block, &maxima.all, maxima.region);
  run(0, nullptr, maxima.local);
  return maxima;
}

}  // namespace anchor
