#include "anchor/base/parallel.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace anchor;

namespace {

/// How often a loop over `count` indices ran each of them.
std::vector<int> visits(std::int64_t count) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
  parallel_for(count, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
  return {seen.begin(), seen.end()};
}

/// Four threads whatever the machine has, for the length of a test.
struct FourThreads {
  FourThreads() { set_threads(4); }
  ~FourThreads() { set_threads(0); }
};

}  // namespace

TEST_CASE("a parallel loop runs every index once, however many there are") {
  const FourThreads four;
  for (const std::int64_t count : {0, 1, 2, 3, 5, 1000}) {
    CHECK(visits(count) == std::vector<int>(static_cast<std::size_t>(count), 1));
  }
  for (int round = 0; round < 2000; ++round) REQUIRE(visits(5) == std::vector<int>(5, 1));
}

TEST_CASE("pieces that wait for each other run on different threads") {
  const FourThreads four;
  std::atomic<int> arrived{0};
  std::set<std::thread::id> threads;
  std::mutex mutex;
  parallel_for(4, [&](std::int64_t) {
    ++arrived;
    while (arrived < 4) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  CHECK(threads.size() == 4);
}

TEST_CASE("nested loops and loops of several callers run every index once") {
  const FourThreads four;
  std::atomic<int> inner{0};
  parallel_for(8, [&](std::int64_t) { parallel_for(8, [&](std::int64_t) { ++inner; }); });
  CHECK(inner == 64);

  std::vector<std::vector<int>> seen(3);
  {
    std::vector<std::jthread> callers;
    for (auto& mine : seen) callers.emplace_back([&mine] { mine = visits(500); });
  }
  for (const auto& mine : seen) CHECK(mine == std::vector<int>(500, 1));
}

TEST_CASE("the first exception ends a loop and is rethrown; the next loop works") {
  const FourThreads four;
  std::atomic<int> ran{0};
  const auto failing = [&](std::int64_t i) {
    ++ran;
    if (i == 7) throw std::runtime_error("piece 7");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  CHECK_THROWS_WITH(parallel_for(10000, failing), "piece 7");
  CHECK(ran < 10000);
  CHECK(visits(100) == std::vector<int>(100, 1));
}
