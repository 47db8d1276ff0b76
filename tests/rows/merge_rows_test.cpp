#include "anchor/rows/merge_rows.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "anchor/base/error.hpp"
#include "anchor/rows/shard.hpp"

using namespace anchor;

namespace {

/// A folder of its own, gone at the end.
struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / "anchor_merge_rows_test";
  Folder() { std::filesystem::create_directory(path); }
  ~Folder() { std::filesystem::remove_all(path); }

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
};

std::string line(int shard, int piece, int part, double value, const std::string& more = "",
                 const std::string& request = "0123456789abcdef") {
  return fmt::format(
      R"({{"schema":"anchor-result/1","unit":"{}-{}","kind":"eval","scope":"task","status":"ok",)"
      R"("value":{},"shard":"{}/2 {}/5 {}/2 {}","t":"{}"{}}})"
      "\n",
      piece, part, value, shard, piece, part, request, more.empty() ? "now" : "later", more);
}

std::string merged(const std::vector<std::string>& paths, Merged& found) {
  std::string text;
  found = merge_rows(paths, [&](std::string_view one) { text += one; });
  return text;
}

}  // namespace

TEST_CASE("a shard is I/N, or what Slurm says when asked") {
  CHECK(parse_shard("0/1", "--shard").count == 1);
  CHECK(parse_shard("3/4", "--shard").takes(7));
  CHECK_FALSE(parse_shard("3/4", "--shard").takes(8));
  for (const char* wrong : {"", "4/4", "-1/4", "1", "1/", "a/b", "1/4x", "1/0"})
    CHECK_THROWS_AS(parse_shard(wrong, "--shard"), Error);
  for (const char* name : {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_PROCID", "SLURM_NTASKS"})
    ::unsetenv(name);
  CHECK_THROWS_WITH_AS(parse_shard("auto", "--shard"), doctest::Contains("SLURM_PROCID is missing"), Error);
  ::setenv("SLURM_PROCID", "2", 1);
  ::setenv("SLURM_NTASKS", "3", 1);
  CHECK(parse_shard("auto", "--shard").index == 2);
  ::setenv("SLURM_ARRAY_TASK_ID", "5", 1);
  ::setenv("SLURM_ARRAY_TASK_MIN", "1", 1);
  ::setenv("SLURM_ARRAY_TASK_COUNT", "8", 1);
  CHECK(parse_shard("auto", "--shard").index == 4);
  CHECK(parse_shard("auto", "--shard").count == 8);
  ::setenv("SLURM_ARRAY_TASK_COUNT", "4", 1);
  CHECK_THROWS_AS(parse_shard("auto", "--shard"), Error);
  for (const char* name : {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT",
                           "SLURM_PROCID", "SLURM_NTASKS"})
    ::unsetenv(name);
}

TEST_CASE("a stamp reads back") {
  const ShardStamp stamp{{1, 4}, 17, 600, 0, 2, "0123456789abcdef"};
  CHECK(stamp.text() == "1/4 17/600 0/2 0123456789abcdef");
  CHECK(ShardStamp::parse(stamp.text())->text() == stamp.text());
  for (const char* wrong : {"", "1/4", "1/4 18/600 0/2 0123456789abcdef", "1/4 17/600 2/2 0123456789abcdef",
                            "1/4 17/600 0/2 0123", "1/4 17/600 0/2 0123456789abcdeX"})
    CHECK_FALSE(ShardStamp::parse(wrong));
}

TEST_CASE("shards become the rows of one process") {
  const Folder folder;
  std::string even, odd, expected;
  for (int piece = 0; piece < 5; ++piece) {
    for (int part = 0; part < 2; ++part) {
      std::string one = line(piece % 2, piece, part, 0.5 * piece);
      (piece % 2 == 0 ? even : odd) += one;
      const auto begin = one.find(",\"shard\"");
      expected += one.erase(begin, one.find("\",", begin + 9) + 1 - begin);
    }
  }
  const std::string a = folder.write("a.jsonl", even), b = folder.write("b.jsonl", odd);
  Merged found;
  CHECK(merged({b, a}, found) == expected);
  CHECK(found.rows == 10);
  CHECK(found.holes.empty());

  // Equal rows count once, whenever they were made.
  const std::string again = folder.write("again.jsonl", line(0, 2, 1, 1, R"(,"argv":["x"])"));
  CHECK(merged({a, again, b}, found) == expected);
  CHECK(found.duplicates == 1);
  const std::string other = folder.write("other.jsonl", line(0, 2, 1, 1.5));
  CHECK_THROWS_WITH_AS(merged({a, other, b}, found), doctest::Contains("differ"), Error);

  // What is missing is named.
  merged({b}, found);
  CHECK(hole_lines(found) == std::vector<std::string>{"shard 0/2 is missing"});
  const std::string torn = folder.write("torn.jsonl", even.substr(0, even.size() - 30));
  merged({torn, b}, found);
  CHECK(hole_lines(found) == std::vector<std::string>{"shard 0/2 lacks 1 of its 3 pieces of work: 4"});
}

TEST_CASE("a row with a result takes the place of one without") {
  const Folder folder;
  std::string failed = line(0, 0, 0, 0);
  failed.replace(failed.find("\"ok\""), 4, "\"error\"");
  const std::string a = folder.write("a.jsonl", failed), b = folder.write("b.jsonl", line(0, 0, 0, 7));
  Merged found;
  CHECK(merged({a, b}, found).find("\"value\":7") != std::string::npos);
  CHECK(found.failed == 0);
  merged({a}, found);
  CHECK(found.failed == 1);
}

TEST_CASE("rows that do not belong together are refused") {
  const Folder folder;
  const std::string a = folder.write("a.jsonl", line(0, 0, 0, 1)),
                    mixed = folder.write("m.jsonl", line(1, 1, 0, 1, "", "fedcba9876543210"));
  Merged found;
  CHECK_THROWS_WITH_AS(merged({a, mixed}, found), doctest::Contains("different requests"), Error);
  std::string plain = line(0, 0, 0, 1);
  plain.erase(plain.find(",\"shard\""), plain.find("\",\"t\"") + 1 - plain.find(",\"shard\""));
  CHECK_THROWS_WITH_AS(merged({folder.write("p.jsonl", plain)}, found), doctest::Contains("of no shard"),
                       Error);
  CHECK_THROWS_AS(merged({folder.write("x.jsonl", "{}\n")}, found), Error);
  CHECK_THROWS_AS(merged({folder.write("empty.jsonl", "")}, found), Error);
}
