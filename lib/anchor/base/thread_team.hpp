#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace anchor {

/// Threads that wait between the loops of one calling thread. The library starts its own instead of OpenMP's,
/// so that a process which loads it beside another OpenMP runtime (PyTorch brings one) has one such runtime,
/// not two.
class ThreadTeam {
 public:
  ThreadTeam() = default;
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam();

  /// Runs `job` on the calling thread and on up to `helpers` others at the same time; returns once all that
  /// began it have finished. A helper that wakes up after the caller is done does not begin. `job` must not
  /// throw.
  void run(int helpers, const std::function<void()>& job);

 private:
  void wait_for_jobs();
  void linger(unsigned seen) const;

  std::mutex mutex_;
  std::condition_variable start_, finished_;
  const std::function<void()>* job_ = nullptr;
  int places_ = 0;   ///< how many more helpers may begin the job
  int running_ = 0;  ///< helpers at work
  bool ending_ = false;
  std::atomic<unsigned> calls_ = 0;  ///< jobs so far
  std::vector<std::thread> threads_;
};

}  // namespace anchor
