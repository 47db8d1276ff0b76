#include "anchor/replay/group_stream.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/cpu_engine.hpp"

using namespace anchor;

namespace {

std::vector<std::unique_ptr<Engine>> engines(int count) {
  std::vector<std::unique_ptr<Engine>> made;
  for (int n = 0; n < count; ++n) made.push_back(make_cpu_engine());
  return made;
}

/// Counts the bytes that are taken from it and not given back.
struct CountingMemory final : std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    const std::int64_t now = held += static_cast<std::int64_t>(bytes);
    std::int64_t seen = peak;
    while (seen < now && !peak.compare_exchange_weak(seen, now)) {
    }
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    held -= static_cast<std::int64_t>(bytes);
    std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
  std::atomic<std::int64_t> held = 0, peak = 0;
};

std::int64_t size_of_group(std::int64_t index) { return 100 + index % 3 * 50; }

/// Steps over groups of known contents.
struct Fixture {
  explicit Fixture(std::int64_t count) : results(static_cast<std::size_t>(count), -1) {
    steps.count = count;
    steps.bytes = size_of_group;
    steps.wanted = [this](std::int64_t index) {
      asked.push_back(index);
      return index % 7 != 3;
    };
    steps.load = [this](std::int64_t index, std::pmr::memory_resource*) {
      LoadedGroup loaded;
      loaded.group.layer = static_cast<int>(index);
      loaded.group.q.bytes = HostBytes(static_cast<std::size_t>(size_of_group(index)), &memory);
      return loaded;
    };
    steps.compute = [this](std::int64_t index, Engine& engine, const LoadedGroup& loaded) {
      std::this_thread::sleep_for(std::chrono::microseconds(index * 7919 % 900));
      results[static_cast<std::size_t>(index)] = loaded.group.layer * 10;
      const std::lock_guard lock(mutex);
      used.insert(&engine);
    };
    steps.finish = [this](std::int64_t index) { finished.push_back(index); };
  }

  GroupStream::Steps steps;
  CountingMemory memory;
  std::mutex mutex;
  std::vector<std::int64_t> asked, finished;
  std::vector<std::int64_t> results;
  std::set<Engine*> used;
};

}  // namespace

TEST_CASE("groups are asked for and finished in order, computed once, whatever the number of engines") {
  set_threads(16);
  for (const int count : {1, 2, 5}) {
    for (const std::int64_t read_ahead : {0, 400, 100000}) {
      Fixture f(60);
      const auto all = engines(count);
      GroupStream(all, read_ahead).run(f.steps);
      REQUIRE(f.finished.size() == 60);
      for (std::int64_t n = 0; n < 60; ++n) {
        CHECK(f.asked[static_cast<std::size_t>(n)] == n);
        CHECK(f.finished[static_cast<std::size_t>(n)] == n);
        CHECK(f.results[static_cast<std::size_t>(n)] == (n % 7 == 3 ? -1 : n * 10));
      }
      CHECK(f.memory.held == 0);
      CHECK(f.memory.peak <= std::max<std::int64_t>(read_ahead, 200));
      if (read_ahead == 100000) CHECK(f.used.size() == static_cast<std::size_t>(count));
    }
  }
  set_threads(0);
}

TEST_CASE("an exception in any step, or an interrupt, stops the stream and reaches the caller") {
  for (const int where : {0, 1, 2, 3, 4}) {
    CAPTURE(where);
    Fixture f(50);
    const auto fail_at = [where, inner = f.steps](int step, std::int64_t index) {
      if (step == where && index == 20) throw std::runtime_error("broken");
    };
    GroupStream::Steps steps = f.steps;
    steps.wanted = [&](std::int64_t n) { return fail_at(0, n), f.steps.wanted(n); };
    steps.load = [&](std::int64_t n, std::pmr::memory_resource* m) {
      return fail_at(1, n), f.steps.load(n, m);
    };
    steps.compute = [&](std::int64_t n, Engine& e, const LoadedGroup& g) {
      fail_at(2, n), f.steps.compute(n, e, g);
    };
    steps.finish = [&](std::int64_t n) {
      fail_at(3, n);
      f.steps.finish(n);
      if (where == 4 && n == 20) interrupt_requested = true;
    };
    const auto all = engines(3);
    if (where < 4) {
      CHECK_THROWS_WITH(GroupStream(all, 1000).run(steps), "broken");
      CHECK(f.finished.size() <= 20);
    } else {
      CHECK_THROWS_AS(GroupStream(all, 1000).run(steps), Error);
      interrupt_requested = false;
      CHECK(f.finished.size() == 21);
    }
    for (std::size_t n = 0; n < f.finished.size(); ++n) CHECK(f.finished[n] == static_cast<std::int64_t>(n));
    CHECK(f.memory.held == 0);
  }
}
