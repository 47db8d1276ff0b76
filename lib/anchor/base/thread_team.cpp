#include "anchor/base/thread_team.hpp"

namespace anchor {

ThreadTeam::~ThreadTeam() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::run(int helpers, const std::function<void()>& job) {
  while (static_cast<int>(threads_.size()) < helpers) threads_.emplace_back([this] { wait_for_jobs(); });
  {
    const std::lock_guard lock(mutex_);
    job_ = &job;
    places_ = helpers;
  }
  for (int i = 0; i < helpers; ++i) start_.notify_one();
  job();
  std::unique_lock lock(mutex_);
  places_ = 0;
  finished_.wait(lock, [this] { return running_ == 0; });
}

void ThreadTeam::wait_for_jobs() {
  std::unique_lock lock(mutex_);
  while (true) {
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
