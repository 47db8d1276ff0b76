#include "anchor/base/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <mutex>

#include "anchor/base/error.hpp"
#include "anchor/base/thread_team.hpp"

namespace anchor {

std::atomic<bool> interrupt_requested{false};
std::atomic<int> interrupt_signal{0};

namespace {
int thread_setting = 0;
thread_local int thread_share = 0;
thread_local bool inside_loop = false;

/// The cores that this process may use: fewer than the machine has under taskset or in a container's cpuset.
int usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(CPU_COUNT(&cores), 1);
  return std::max(static_cast<int>(std::thread::hardware_concurrency()),
                  1);  // more cores than cpu_set_t counts
}

/// One loop of parallel_for: its next index and its first exception.
class Loop {
 public:
  Loop(std::int64_t count, const std::function<void(std::int64_t)>& body) : count_(count), body_(body) {}

  void work() {
    for (std::int64_t i; (i = next_.fetch_add(1)) < count_;) {
      try {
        check_interrupt();
        body_(i);
      } catch (...) {
        next_.store(count_);
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
      }
    }
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const std::int64_t count_;
  const std::function<void(std::int64_t)>& body_;
  std::atomic<std::int64_t> next_{0};
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace

void set_threads(int count) { thread_setting = count; }
int threads() {
  const int all = thread_setting > 0 ? thread_setting : usable_cores();
  return thread_share > 0 ? std::min(thread_share, all) : all;
}
void set_thread_share(int count) { thread_share = count; }

void check_interrupt() {
  if (interrupt_requested.load(std::memory_order_relaxed)) throw Error(ErrorKind::interrupted, "interrupted");
}

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  thread_local ThreadTeam team;
  Loop loop(count, body);
  const int wanted = static_cast<int>(std::min<std::int64_t>(threads(), count));
  if (wanted > 1 && !inside_loop) {
    team.run(wanted - 1, [&loop] {
      inside_loop = true;
      loop.work();
      inside_loop = false;
    });
  } else {
    loop.work();
  }
  loop.rethrow();
}

}  // namespace anchor
