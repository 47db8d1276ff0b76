#include "anchor/base/parallel.hpp"

#include <omp.h>

#include <algorithm>
#include <exception>

#include "anchor/base/error.hpp"

namespace anchor {

std::atomic<bool> interrupt_requested{false};

namespace {
int thread_setting = 0;
thread_local int thread_share = 0;
}  // namespace

void set_threads(int count) { thread_setting = count; }
int threads() {
  const int all = thread_setting > 0 ? thread_setting : omp_get_num_procs();
  return thread_share > 0 ? std::min(thread_share, all) : all;
}
void set_thread_share(int count) { thread_share = count; }

void check_interrupt() {
  if (interrupt_requested.load(std::memory_order_relaxed)) throw Error(ErrorKind::interrupted, "interrupted");
}

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  std::exception_ptr failure;
  std::atomic<bool> stop{false};
  const int wanted = static_cast<int>(std::min<std::int64_t>(threads(), count));
#pragma omp parallel for schedule(dynamic, 1) num_threads(wanted) if (wanted > 1 && !omp_in_parallel())
  for (std::int64_t i = 0; i < count; ++i) {
    if (stop.load(std::memory_order_relaxed)) continue;
    try {
      check_interrupt();
      body(i);
    } catch (...) {
#pragma omp critical(anchor_parallel_failure)
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace anchor
