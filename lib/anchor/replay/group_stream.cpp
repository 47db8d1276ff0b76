#include "anchor/replay/group_stream.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

/// The threads of one run and what they share.
class Run {
 public:
  Run(const GroupStream::Steps& steps, std::span<const std::unique_ptr<Engine>> engines,
      std::int64_t read_ahead)
      : steps_(steps),
        memory_(engines[0]->host_memory()),
        read_ahead_(read_ahead),
        done_(static_cast<std::size_t>(steps.count), false) {
    readers_left_ = std::clamp(threads() / 4, 1, 4);
    try {
      for (int n = readers_left_; n > 0; --n) start([this] { read(); });
      for (const auto& engine : engines) start([this, &engine] { compute(*engine); });
    } catch (const std::system_error& error) {
      join();
      fail("cannot start a thread ({}): allow this user more processes", error.code().message());
    }
  }
  ~Run() { join(); }

  /// The calling thread's part.
  void finish() {
    for (std::int64_t next = 0; next < steps_.count; ++next) {
      check_interrupt();
      std::unique_lock lock(mutex_);
      while (!done_[static_cast<std::size_t>(next)] && !failure_) {
        changed_.wait_for(lock, std::chrono::milliseconds(50));
        check_interrupt();
      }
      if (!done_[static_cast<std::size_t>(next)]) std::rethrow_exception(failure_);
      lock.unlock();
      steps_.finish(next);
    }
  }

 private:
  template <class Body>
  void start(Body body) {
    threads_.emplace_back([this, body] {
      try {
        body();
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
        stopped_ = true;
      }
      changed_.notify_all();
    });
  }

  void join() {
    stop();
    for (std::thread& thread : threads_) thread.join();
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

  void read() {
    while (true) {
      std::unique_lock order(order_mutex_);  // memory is claimed in order, so that the next group always fits
      const std::int64_t index = next_++;
      if (index >= steps_.count || stopped_) break;
      if (!steps_.wanted(index)) {
        mark_done(index);
        continue;
      }
      const std::int64_t bytes = steps_.bytes(index);
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || held_ == 0 || held_ + bytes <= read_ahead_; });
        if (stopped_) break;
        held_ += bytes;
      }
      order.unlock();
      LoadedGroup group = steps_.load(index, memory_);
      const std::lock_guard lock(mutex_);
      loaded_.emplace(index, std::move(group));
      changed_.notify_all();
    }
    const std::lock_guard lock(mutex_);
    --readers_left_;
    changed_.notify_all();
  }

  void compute(Engine& engine) {
    engine.enter_thread();
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopped_ || !loaded_.empty() || readers_left_ == 0; });
      if (stopped_ || loaded_.empty()) return;
      {
        const auto taken = loaded_.extract(loaded_.begin());
        lock.unlock();
        steps_.compute(taken.key(), engine, taken.mapped());
        lock.lock();
        held_ -= steps_.bytes(taken.key());
        done_[static_cast<std::size_t>(taken.key())] = true;
      }
      changed_.notify_all();
    }
  }

  void mark_done(std::int64_t index) {
    const std::lock_guard lock(mutex_);
    done_[static_cast<std::size_t>(index)] = true;
    changed_.notify_all();
  }

  const GroupStream::Steps& steps_;
  std::pmr::memory_resource* memory_;
  std::int64_t read_ahead_;

  std::mutex order_mutex_;
  std::int64_t next_ = 0;  ///< the group that the next reader takes; guarded by order_mutex_

  std::mutex mutex_;  ///< guards all below
  std::condition_variable changed_;
  std::map<std::int64_t, LoadedGroup> loaded_;
  std::vector<bool> done_;
  std::int64_t held_ = 0;
  int readers_left_ = 0;
  std::atomic<bool> stopped_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace

void GroupStream::run(const Steps& steps) const { Run(steps, engines_, read_ahead_).finish(); }

}  // namespace anchor
