#include "anchor/base/thread_team.hpp"

#include <chrono>
#include <system_error>

namespace anchor {

ThreadTeam::~ThreadTeam() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    ++calls_;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::run(int helpers, const std::function<void()>& job) {
  try {
    while (static_cast<int>(threads_.size()) < helpers) threads_.emplace_back([this] { wait_for_jobs(); });
  } catch (const std::system_error&) {  // the system lends no more: those that there are do the work
    helpers = static_cast<int>(threads_.size());
  }
  {
    const std::lock_guard lock(mutex_);
    job_ = &job;
    places_ = helpers;
    ++calls_;
  }
  for (int i = 0; i < helpers; ++i) start_.notify_one();
  job();
  std::unique_lock lock(mutex_);
  places_ = 0;
  finished_.wait(lock, [this] { return running_ == 0; });
}

/// Waits awake for the next job, for as long as loops in a row are apart: a thread that sleeps in between may
/// wake up on its caller's core.
void ThreadTeam::linger(unsigned seen) const {
  constexpr std::chrono::microseconds longest{200};
  const auto start = std::chrono::steady_clock::now();
  while (calls_.load(std::memory_order_acquire) == seen &&
         std::chrono::steady_clock::now() - start < longest) {
    std::this_thread::yield();
  }
}

void ThreadTeam::wait_for_jobs() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (!ending_ && places_ == 0) {
      const unsigned seen = calls_;
      lock.unlock();
      linger(seen);
      lock.lock();
    }
    start_.wait(lock, [this] { return ending_ || places_ > 0; });
    if (ending_) return;
    --places_;
    ++running_;
    const std::function<void()>& job = *job_;
    lock.unlock();
    job();
    lock.lock();
    if (--running_ == 0) finished_.notify_one();
  }
}

}  // namespace anchor
