#pragma once

#include <algorithm>

#include "check.hpp"
#include "device/launch.cuh"
#include "dispatch.hpp"
#include "sm90/sparse_fwd/consumer.cuh"
#include "sm90/sparse_fwd/producer.cuh"

namespace anchor::kernels::sm90 {

/// One persistent block per multiprocessor: warpgroup 0 gathers, the others compute.
template <Element element, int head_dim, Mode mode, class Worker>
__global__ void __launch_bounds__(kThreads, 1)
    forward_kernel(const __grid_constant__ SparseFwdParams params, const __grid_constant__ Schedule schedule,
                   const __grid_constant__ typename Worker::Extra extra) {
  extern __shared__ unsigned char memory[];
  auto& shared = *reinterpret_cast<Shared<head_dim, mode>*>(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Config<head_dim, mode>::stages; ++i) {
      barrier_init(shared_address(&shared.key_full[i]), kProducers + kProducers / 32);
      barrier_init(shared_address(&shared.value_full[i]), kProducers);
      barrier_init(shared_address(&shared.key_empty[i]), kConsumerWarps);
      barrier_init(shared_address(&shared.value_empty[i]), kConsumerWarps);
    }
    barrier_init(shared_address(&shared.query_full), kProducers + 1);
    barrier_init(shared_address(&shared.query_empty), kConsumerWarps);
    barrier_init_fence();
  }
  begin_kernel();
  __syncthreads();
  if (threadIdx.x < kProducers) {
    lower_registers<kProducerRegisters>();
    Producer<element, head_dim, mode>(params, schedule, shared).run();
  } else {
    raise_registers<kConsumerRegisters>();
    Worker(params, extra, shared).run();
  }
}

/// Multiprocessors of the current device.
inline int multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  return count;
}

template <Element element, int head_dim, Mode mode, class Worker>
void run_forward(const SparseFwdParams& params, const Schedule& schedule, const typename Worker::Extra& extra,
                 CUstream_st* stream) {
  const auto kernel = forward_kernel<element, head_dim, mode, Worker>;
  constexpr int bytes = sizeof(Shared<head_dim, mode>);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "cudaFuncSetAttribute");
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(multiprocessors(), schedule.tiles));
  launch("forward_kernel", kernel, blocks, kThreads, bytes, stream, params, schedule, extra);
}

template <Element element, int head_dim>
void sparse_fwd(const SparseFwdParams& params, void* workspace, CUstream_st* stream) {
  if (can_join(params.shape, params.plan)) {
    const Join join(params.shape, params.plan, workspace);
    SparseFwdParams joined = params;
    joined.plan = join.plan;
    run_join(params.plan, join, stream);
    return run_forward<element, head_dim, Mode::joined, AttentionConsumer<element, head_dim, Mode::joined>>(
        joined, join.schedule, {}, stream);
  }
  const Schedule schedule(params.shape, params.plan, workspace);
  run_schedule(params.shape, params.plan, schedule, /*skip_empty=*/false, stream);
  run_forward<element, head_dim, Mode::attention, AttentionConsumer<element, head_dim, Mode::attention>>(
      params, schedule, {}, stream);
}

}  // namespace anchor::kernels::sm90
