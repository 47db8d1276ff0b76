#include "common/schedule/schedule.cuh"
#include "device/launch.cuh"

namespace anchor::kernels {
namespace {

__global__ void __launch_bounds__(kScheduleThreads)
    schedule_kernel(Shape shape, PlanParams plan, Schedule schedule, bool skip_empty) {
  begin_kernel();
  fill_schedule(shape, plan, schedule, skip_empty, static_cast<int>(blockIdx.x));
}

}  // namespace

void run_schedule(const Shape& shape, const PlanParams& plan, const Schedule& schedule, bool skip_empty,
                  CUstream_st* stream) {
  launch("schedule_kernel", schedule_kernel, static_cast<unsigned>(schedule.segments), kScheduleThreads, 0,
         stream, shape, plan, schedule, skip_empty);
}

}  // namespace anchor::kernels
