#include "anchor/replay/dump_stream.hpp"

#include <doctest/doctest.h>

#include <mutex>

#include "anchor/base/error.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

TEST_CASE("every selected group is loaded, computed and finished once, with progress") {
  const test::TempDump dump("stream_all.h5", {.layers = {0, 1, 2}});
  const DumpReader reader(dump.path);
  const std::vector<StreamItem> items = stream_items(reader, select_groups(reader));
  REQUIRE(items.size() == 6);
  for (const bool in_order : {true, false}) {
    std::vector<StreamProgress> seen;
    const DumpStream stream({.device = "cpu",
                             .memory = 0,
                             .group_bytes = check_memory(reader, select_groups(reader), 0),
                             .in_order = in_order,
                             .progress = [&](const StreamProgress& p) { seen.push_back(p); }});
    std::mutex mutex;
    std::vector<std::size_t> computed, finished;
    stream.run("group", items,
               {.wanted = [](std::size_t n) { return n != 4; },
                .compute =
                    [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
                      CHECK(loaded.error.empty());
                      CHECK(engine.device() == "cpu");
                      CHECK(loaded.group.layer == items[n].group.layer);
                      CHECK(loaded.group.first_q_head == items[n].group.first_head);
                      const std::lock_guard lock(mutex);
                      computed.push_back(n);
                    },
                .finish = [&](std::size_t n) { finished.push_back(n); }});
    if (!in_order) std::sort(computed.begin(), computed.end());
    CHECK(computed == std::vector<std::size_t>{0, 1, 2, 3, 5});
    CHECK(finished == std::vector<std::size_t>{0, 1, 2, 3, 4, 5});
    REQUIRE(seen.size() == 7);
    for (std::size_t n = 0; n < seen.size(); ++n) {
      CHECK(seen[n].what == "group");
      CHECK(seen[n].done == static_cast<std::int64_t>(n));
      CHECK(seen[n].total == 6);
      CHECK(seen[n].heads == 2 * static_cast<std::int64_t>(n));
    }
    CHECK(seen.back().bytes == 5 * 96 * 16 * (2 + 2) * 4);  // of the groups that were read
  }
}

TEST_CASE("a value that is not finite is the group's error, and the others go on") {
  const test::TempDump file("stream_nan.h5", {.layers = {0}, .broken = {{0, 1}}});
  const DumpReader reader(file.path);
  const auto items = stream_items(reader, select_groups(reader));
  const DumpStream stream({.device = "cpu", .in_order = true});
  std::vector<std::string> errors(items.size(), "not computed");
  stream.run("group", items,
             {.wanted = nullptr,
              .compute = [&](std::size_t n, Engine&, const LoadedGroup& loaded) { errors[n] = loaded.error; },
              .finish = nullptr});
  CHECK(errors[0].empty());
  CHECK(errors[1].find(file.path + ": ") == 0);
  CHECK_NOTHROW(read_finite_group(reader, 0, 0));
  CHECK_THROWS_WITH_AS(read_finite_group(reader, 0, 1), doctest::Contains(errors[1].c_str()), Error);
}

TEST_CASE("groups that depend on each other take one engine; too little memory is refused") {
  CHECK_THROWS_AS(DumpStream({.device = "cpu", .memory = 1000, .group_bytes = 2000}), Error);
  CHECK_NOTHROW(DumpStream({.device = "cpu", .memory = 2000, .group_bytes = 2000}));
  StreamProgress progress{.bytes = 3'000'000'000, .heads = 8, .seconds = 2};
  CHECK(progress.rates() == "1.5 GB/s, 4.0 heads/s");
}
