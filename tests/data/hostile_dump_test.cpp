#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "anchor/base/error.hpp"
#include "anchor/data/dump_reader.hpp"
#include "anchor/data/hdf5/message.hpp"

using namespace anchor;
namespace fs = std::filesystem;

// Damaged dumps, many of them. ANCHOR_FUZZ_FILES sets how many; ANCHOR_FUZZ_SEED where they begin.
namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("anchor_hostile_test_{}", getpid());
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return path / name; }
};

std::uint64_t setting(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : fallback;
}

std::vector<std::string> good_dumps() {
  std::vector<std::string> contents;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(fs::path(ANCHOR_TEST_DATA) / "fuzz" / "dumps"))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    contents.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return contents;
}

// One to three bytes changed, mostly where the file holds something; sometimes cut short.
std::string damaged(std::string content, std::mt19937_64& random) {
  const std::uint64_t changes = 1 + random() % 3;
  for (std::uint64_t i = 0; i < changes; ++i) {
    std::size_t at = random() % content.size();
    for (int attempt = 0; attempt < 8 && content[at] == 0; ++attempt) at = random() % content.size();
    const unsigned char choices[] = {static_cast<unsigned char>(content[at] ^ (1 << random() % 8)), 0, 0xff,
                                     static_cast<unsigned char>(random())};
    content[at] = static_cast<char>(choices[random() % 4]);
  }
  if (random() % 50 == 0) content.resize(random() % content.size());
  return content;
}

// Of this process and its children.
double cpu_seconds() {
  double sum = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    struct rusage usage {};
    getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime})
      sum += static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  }
  return sum;
}

// The most memory that this process and any of its children have held, in MiB. A fork starts with its
// parent's.
long peak_mebibytes() {
  struct rusage self {
  }, children{};
  getrusage(RUSAGE_SELF, &self);
  getrusage(RUSAGE_CHILDREN, &children);
  return std::max(self.ru_maxrss, children.ru_maxrss) / 1024;
}

// Where it went wrong, in a word.
std::string kind_of(const std::string& message) {
  if (message.find("crashed") != std::string::npos) return "crash in the child";
  return message.find("without end") != std::string::npos ? "endless in the child" : "error";
}

// Everything that there is to read: "ok", or what is wrong in a word.
std::string read_all(const std::string& path) {
  try {
    const DumpReader reader(path, DumpReader::Strictness::inspect);
    reader.input_ids();
    for (const LayerInfo& info : reader.layers()) {
      for (const Part part : parts_of(info)) {
        const auto heads = shape_of(info, part)[0];
        for (std::int64_t head = 0; head < heads; ++head) reader.read(info.layer, part, head, 1);
      }
    }
    for (const std::string& problem : reader.problems()) {
      if (kind_of(problem) != "error") return kind_of(problem);
    }
    return reader.problems().empty() ? "ok" : "problems";
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::data);
    return kind_of(error.what());
  }
}

std::string message_of(const std::string& path) {
  try {
    const DumpReader reader(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a damaged dump is an error or a dump, never a crash or a hang") {
  const Folder folder;
  const std::string path = folder / "d.h5";
  const std::vector<std::string> good = good_dumps();
  REQUIRE(good.size() >= 4);
  for (const std::string& content : good) {
    std::ofstream(path, std::ios::binary) << content;
    CHECK(read_all(path) == "ok");
  }
  const std::uint64_t first = setting("ANCHOR_FUZZ_SEED", 0), count = setting("ANCHOR_FUZZ_FILES", 400);
  std::map<std::string, int> outcomes;
  double slowest = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::ofstream(path, std::ios::binary) << damaged(good[seed % good.size()], random);
    const double start = cpu_seconds();
    ++outcomes[read_all(path)];
    const double seconds = cpu_seconds() - start;
    CHECK(seconds < 1);
    slowest = std::max(slowest, seconds);
  }
  for (const auto& [outcome, times] : outcomes) MESSAGE(outcome, ": ", times);
  CHECK(peak_mebibytes() < 1500);  // a child may take 1 GiB
  MESSAGE("slowest: ", slowest, " s of CPU time; peak memory: ", peak_mebibytes(), " MiB");
}

TEST_CASE("what a file says cannot break a line or steer the terminal") {
  CHECK(h5::printable("a\nb\x1b[2J\x7f") == "a?b?[2J?");
  CHECK(h5::printable("Größe") == "Größe");
}

TEST_CASE("what is not a file of its own is refused at once") {
  const Folder folder;
  REQUIRE(mkfifo((folder / "pipe.h5").c_str(), 0600) == 0);
  CHECK(message_of(folder / "pipe.h5").find("not an HDF5 file but a pipe") != std::string::npos);
  CHECK(message_of("/dev/zero").find("not an HDF5 file but a device") != std::string::npos);
  CHECK(message_of(folder.path).find("not an HDF5 file but a folder") != std::string::npos);
}
