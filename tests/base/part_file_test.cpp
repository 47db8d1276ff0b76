#include "anchor/base/part_file.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "anchor/base/error.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::TempFile;
namespace fs = std::filesystem;

namespace {

/// A device that takes everything; one of our own where that is allowed, so that a wrong writer does not
/// replace the machine's.
std::string null_device(const TempFile& file) {
  return ::mknod(file.path.c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0 ? file.path : "/dev/null";
}

std::vector<std::string> one(const std::string& path) { return {path}; }

}  // namespace

TEST_CASE("an output keeps its old bytes until it is published, and has the new ones then") {
  const TempFile file("part_file");
  file.write("old");
  {
    PartFile part(file.path);
    part.write("new");
    CHECK(file.read() == "old");
    part.publish();
  }
  CHECK(file.read() == "new");
  CHECK_FALSE(fs::exists(file.path + ".part"));
}

TEST_CASE("a second writer is refused before anything changes") {
  const TempFile file("part_file_locked");
  PartFile first(file.path);
  first.write("first");
  CHECK_THROWS_WITH_AS(PartFile{file.path}, doctest::Contains("locked by another process"), Error);
  const TempFile left(fs::path(file.path + ".part").filename().string());
  CHECK(fs::file_size(file.path + ".part") == 5);
  first.discard();
  CHECK_NOTHROW(PartFile(file.path).discard());
}

TEST_CASE("an output leads through links, also to a file that is not there yet") {
  const TempFile link("part_file_link"), target("part_file_target");
  fs::create_symlink(target.path, link.path);
  PartFile part(link.path);
  CHECK(part.target() == target.path);
  part.write("through");
  part.publish();
  CHECK(fs::is_symlink(link.path));
  CHECK(target.read() == "through");
}

TEST_CASE("an output that is one of the inputs is a usage error that changes nothing") {
  const TempFile input("part_file_input"), link("part_file_input_link");
  input.write("precious");
  fs::create_symlink(input.path, link.path);
  for (const std::string& output : {input.path, link.path}) {
    bool usage = false;
    try {
      const PartFile part(output, one(input.path));
    } catch (const Error& error) {
      usage = error.kind() == ErrorKind::usage;
    }
    CHECK(usage);
  }
  CHECK(input.read() == "precious");
  CHECK_FALSE(fs::exists(input.path + ".part"));
}

TEST_CASE("a device is refused, or written as it stands") {
  const TempFile node("part_file_null");
  const std::string device = null_device(node);
  CHECK_THROWS_WITH_AS(PartFile{device}, doctest::Contains("device"), Error);
  PartFile null(device, {}, PartFile::Device::write_through);
  CHECK(null.part_path().empty());
  CHECK_NOTHROW(null.write("gone"));
  CHECK_NOTHROW(null.publish());
  PartFile full("/dev/full", {}, PartFile::Device::write_through);
  CHECK_THROWS_WITH_AS(full.write("much"), doctest::Contains("/dev/full"), Error);
  CHECK(fs::is_character_file(device));
  CHECK_FALSE(fs::exists(device + ".part"));
}

TEST_CASE("a descriptor by its name is the one that the process has") {
  const TempFile file("part_file_descriptor");
  file.write("before");
  const auto opened = open_device("/dev/stderr");
  REQUIRE(opened);
  CHECK(*opened > 2);
  ::close(*opened);
  CHECK_FALSE(open_device(file.path));
}

TEST_CASE("a folder is no output") {
  CHECK_THROWS_WITH_AS(PartFile(fs::temp_directory_path().string()), doctest::Contains("folder"), Error);
}
